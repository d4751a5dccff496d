"""Which side of the shore is the mark on? A U-Net with a spatial LSTM at its bottom, beside one with convolutions there.

    python examples/shore.py [--steps 1000] [--seeds 3] [--picture FILE]

A wavy line crosses the image from edge to edge, a small cross marks one side, noise lies over all. Every pixel of the marked side is to be
labeled. The two U-Nets differ in their bottom alone and have about as many parameters.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from spatial_lstm import OutputOnly, SpatialLSTM
from spatial_lstm.files import write_atomically

BOTTOMS = ("spatial LSTM", "convolutions")


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3 x 3 convolutions."""
    first, second = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


def make_bottom(name: str, width: int) -> nn.Module:
    """What runs at a quarter of the resolution, from ``width`` channels to as many."""
    if name == "spatial LSTM":
        layer = SpatialLSTM(width, 24, directions="all", cell="stable", merge="mean")
        return nn.Sequential(OutputOnly(layer), nn.Conv2d(24, width, 1))
    layers: list[nn.Module] = []
    for inputs, outputs in ((width, 40), (40, 40), (40, width)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Down twice, through the bottom, up twice, with the features of each resolution carried across."""

    def __init__(self, bottom: str, width: int = 8) -> None:
        super().__init__()
        self.down = nn.ModuleList([block(1, width), block(width, 2 * width)])
        self.enter = nn.Conv2d(2 * width, 4 * width, 1)
        self.bottom = make_bottom(bottom, 4 * width)
        self.up = nn.ModuleList([block(6 * width, 2 * width), block(3 * width, width)])
        self.read_out = nn.Conv2d(width, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """``(N, 1, H, W)`` to the logits of the marked side ``(N, 1, H, W)``; H and W multiples of 4."""
        x, across = images, []
        for level in self.down:
            across.append(level(x))
            x = functional.max_pool2d(across[-1], 2)
        x = self.bottom(self.enter(x))
        for level in self.up:
            x = level(torch.cat([functional.interpolate(x, scale_factor=2), across.pop()], 1))
        logits: Tensor = self.read_out(x)
        return logits


def draw(count: int, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images and their marked sides, ``(count, 1, side, side)`` each."""
    columns, rows = torch.arange(side), torch.arange(side)[:, None]
    waves = torch.arange(1, 4)
    phases, heights = torch.rand(2, count, 3, 1, generator=generator)
    swing = heights * (6.3 * (waves[:, None] * columns / side + phases)).sin() / waves[:, None]
    level = side * (0.3 + 0.4 * torch.rand(count, 1, generator=generator)) + 0.08 * side * swing.sum(1)
    height = rows - level[:, None]  # (count, side, side), above zero below the shore
    mark = torch.randint(3, side - 3, (count, 2), generator=generator)
    depth = height[torch.arange(count), mark[:, 0], mark[:, 1]]
    near = depth.abs() < 5
    mark[near, 0] = torch.where(depth[near] > 0, side - 4, 3)
    cross = (rows - mark[:, 0, None, None]).abs() + (columns - mark[:, 1, None, None]).abs() <= 3
    marked = (height > 0) == (height[torch.arange(count), mark[:, 0], mark[:, 1]] > 0)[:, None, None]
    images = torch.where(cross, 1.0, 0.6 * (height.abs() < 1)) + 0.1 * torch.randn(
        count, side, side, generator=generator
    )
    turned = torch.rand(count, generator=generator) < 0.5
    pairs = torch.stack([images, marked.float()], 1)
    pairs[turned] = pairs[turned].transpose(2, 3)
    return pairs[:, :1], pairs[:, 1:]


def train(bottom: str, steps: int, side: int, seed: int) -> UNet:
    """A U-Net after ``steps`` steps of Adam on fresh images."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = UNet(bottom)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    for step in range(steps):
        images, marked = draw(8, side, generator)
        loss = functional.binary_cross_entropy_with_logits(model(images), marked)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"  {bottom}, seed {seed}, step {step + 1}: loss {loss:.3f}", flush=True)
    return model


@torch.inference_mode()
def score(model: UNet, side: int) -> float:
    """The share of pixels of 100 fresh images that are labeled right."""
    images, marked = draw(100, side, torch.Generator().manual_seed(10_000))
    return float(((model(images) > 0) == marked.bool()).float().mean())


@torch.inference_mode()
def save_picture(models: dict[str, UNet], side: int, path: Path) -> None:
    """Images, and how far each network takes a pixel to lie on the marked side."""
    from matplotlib.figure import Figure

    images, marked = draw(5, side, torch.Generator().manual_seed(10_000))
    rows = {"image": images, "wanted": marked} | {name: model(images).sigmoid() for name, model in models.items()}
    figure = Figure(figsize=(7, 1.42 * len(rows)), layout="constrained")
    for line, (name, shown) in zip(figure.subplots(len(rows), 5), rows.items(), strict=True):
        for axes, one in zip(line, shown, strict=True):
            axes.imshow(one[0].numpy(), cmap="gray_r" if name == "image" else "Blues", vmin=0, vmax=1)
            axes.set_xticks([])
            axes.set_yticks([])
        line[0].set_ylabel(name, fontsize=9)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=70))


def main() -> None:
    """Train both, print their scores, draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000, help="training steps (default: %(default)s)")
    parser.add_argument("--size", type=int, default=64, help="height and width, a multiple of 4 (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each network (default: %(default)s)")
    parser.add_argument("--picture", type=Path, help="where to save a picture of what the first runs answer")
    args = parser.parse_args()
    first: dict[str, UNet] = {}
    for bottom in BOTTOMS:
        models = [train(bottom, args.steps, args.size, seed) for seed in range(args.seeds)]
        first[bottom] = models[0]
        parameters = sum(p.numel() for p in models[0].parameters())
        shares = " ".join(f"{score(model, args.size):.1%}" for model in models)
        print(f"{bottom}, {parameters:,} parameters: right at {shares} of the pixels")
    if args.picture:
        save_picture(first, args.size, args.picture)


if __name__ == "__main__":
    main()
