"""Which way does an arrow far away point? Every site of the image has to say it, in one of eight directions.

    python examples/arrow.py [--steps 1000] [--seeds 2] [--picture FILE]

A small form of the long-range tasks with arrows of papers on linear 2-D recurrences. Four networks with the same two strided convolutions
first, and about as many parameters, learn it on images of 48 x 48; they are scored on fresh ones, and on images of 80 x 80, larger than any
they have seen. What counts is the sites that are at least half an image away from the arrow.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from spatial_lstm import OutputOnly, SpatialLSTM
from spatial_lstm.files import write_atomically

NAMES = ("spatial LSTM", "rows, then columns", "convolutions", "ViT")
CHANNELS, STRIDE, SIDES = 16, 4, (48, 80)


class RowsThenColumns(nn.Module):
    """``nn.LSTM`` in both directions along every row, then another along every column: state flows along one axis at a time."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.rows = nn.LSTM(channels, hidden, batch_first=True, bidirectional=True)
        self.columns = nn.LSTM(2 * hidden, hidden, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, 2 * hidden, H, W)``."""
        n, _, height, width = x.shape
        rows = self.rows(x.permute(0, 2, 3, 1).flatten(0, 1))[0].unflatten(0, (n, height))
        columns = self.columns(rows.transpose(1, 2).flatten(0, 1))[0].unflatten(0, (n, width))
        out: Tensor = columns.permute(0, 3, 2, 1)
        return out


class Transformer(nn.Module):
    """A ViT whose places are the sites, 4 x 4 pixels each; its learned positions are stretched to other sizes."""

    def __init__(self, channels: int, width: int, layers: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, width, 1)
        self.positions = nn.Parameter(0.02 * torch.randn(1, width, SIDES[0] // STRIDE, SIDES[0] // STRIDE))
        layer = nn.TransformerEncoderLayer(width, 4, 3 * width, 0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, width, H, W)``."""
        x = self.enter(x) + functional.interpolate(self.positions, x.shape[2:], mode="bilinear")
        out: Tensor = self.layers(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])
        return out


def make(name: str) -> nn.Module:
    """A network from images ``(N, 1, H, W)`` to the logits of eight directions at every site ``(N, 8, H / 4, W / 4)``."""
    middle: nn.Module
    if name == "spatial LSTM":
        layer = SpatialLSTM(CHANNELS, 22, directions="all", cell="stable")
        middle, width = OutputOnly(layer), 88
    elif name == "rows, then columns":
        middle, width = RowsThenColumns(CHANNELS, 28), 56
    elif name == "convolutions":  # five of them: a site sees the 47 x 47 pixels around it
        convolutions = [nn.Conv2d(CHANNELS if k == 0 else 27, 27, 3, padding=1) for k in range(5)]
        middle, width = nn.Sequential(*(layer for one in convolutions for layer in (one, nn.ReLU()))), 27
    else:
        middle, width = Transformer(CHANNELS, 36, 2), 36
    first = [nn.Conv2d(1, CHANNELS, 3, stride=2, padding=1), nn.ReLU()]
    second = [nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*first, *second, middle, nn.Conv2d(width, 8, 1))


def draw(count: int, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Images ``(count, 1, side, side)``, where their arrows are ``(count, 2)``, and where they point ``(count,)``, in eighths."""
    places = torch.randint(4, side - 4, (count, 2), generator=generator)
    pointing = torch.randint(8, (count,), generator=generator)
    angle = pointing * (math.pi / 4)
    axis = torch.arange(float(side))
    pixels = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)  # (side, side, 2)
    apart = pixels - places[:, None, None]
    along = (apart * torch.stack([angle.cos(), angle.sin()], -1)[:, None, None]).sum(-1)
    across = (apart * torch.stack([-angle.sin(), angle.cos()], -1)[:, None, None]).sum(-1).abs()
    shaft = (1.1 - across).minimum(2.5 - (along + 1).abs())
    head = ((3.3 - along) - across).minimum(along)
    return shaft.maximum(head).clamp(0, 1).unsqueeze(1), places, pointing


def train(name: str, steps: int, seed: int) -> nn.Module:
    """A network after ``steps`` steps of Adam on fresh images."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = make(name)
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for step in range(steps):
        images, _, pointing = draw(32, SIDES[0], generator)
        logits = model(images)
        loss = functional.cross_entropy(logits, pointing[:, None, None].expand(-1, *logits.shape[2:]))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 250 == 249:
            print(f"  {name}, seed {seed}, step {step + 1}: loss {loss:.3f}", flush=True)
    return model


@torch.inference_mode()
def accuracy(model: nn.Module, side: int, count: int) -> float:
    """The share of far sites of fresh images that answer right."""
    images, places, pointing = draw(count, side, torch.Generator().manual_seed(10_000 + side))
    found = torch.cat([model(part).argmax(1) for part in images.split(100)])  # (count, side / 4, side / 4)
    axis = STRIDE * (torch.arange(side // STRIDE) + 0.5)
    rows, columns = ((axis - place[:, None]).abs() for place in places.unbind(1))
    far = rows[:, :, None].maximum(columns[:, None, :]) >= side / 2
    return float((found == pointing[:, None, None])[far].float().mean())


def save_picture(path: Path) -> None:
    """Eight images."""
    from matplotlib.figure import Figure

    images, _, pointing = draw(8, SIDES[0], torch.Generator().manual_seed(5))
    figure = Figure(figsize=(8, 1.3), layout="constrained")
    for axes, image, eighth in zip(figure.subplots(1, 8), images, pointing.tolist(), strict=True):
        axes.imshow(image[0].numpy(), cmap="gray_r")
        axes.set_title("↓↘→↗↑↖←↙"[eighth], fontsize=11)
        axes.set(xticks=[], yticks=[])
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=100))


def main() -> None:
    """Train all, print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000, help="training steps (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each network (default: %(default)s)")
    parser.add_argument("--images", type=int, default=500, help="images that are scored (default: %(default)s)")
    parser.add_argument("--only", choices=NAMES, help="this network alone")
    parser.add_argument("--picture", type=Path, help="where to save a picture of some images")
    args = parser.parse_args()
    if args.picture:
        save_picture(args.picture)
    for name in [args.only] if args.only else NAMES:
        models = [train(name, args.steps, seed) for seed in range(args.seeds)]
        parameters = sum(p.numel() for p in models[0].parameters())
        told = (
            f"{side} x {side}: " + " ".join(f"{accuracy(model, side, args.images):.1%}" for model in models)
            for side in SIDES
        )
        print(f"{name}, {parameters:,} parameters, right at {'; '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
