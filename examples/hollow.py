"""What lies inside of hollow boxes in a volume: ``spatial_dims=3``, eight directions, beside convolutions of as many parameters.

    python examples/hollow.py [--steps 400] [--picture FILE]

Only the walls of boxes are marked in a volume of 16 x 16 x 16, under noise; every voxel is to be labeled as inside or outside.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from spatial_lstm import OutputOnly, SpatialLSTM
from spatial_lstm.files import write_atomically

NAMES = ("spatial LSTM", "convolutions")


def make(name: str) -> nn.Module:
    """A network from volumes ``(N, 1, D, H, W)`` to the logit of "inside" at every voxel."""
    if name == "spatial LSTM":
        layer = SpatialLSTM(1, 6, spatial_dims=3, directions="all", cell="stable")
        return nn.Sequential(OutputOnly(layer), nn.Conv3d(8 * 6, 16, 1), nn.ReLU(), nn.Conv3d(16, 1, 1))
    convolutions = [nn.Conv3d(1 if k == 0 else 9, 9, 3, padding=1) for k in range(4)]  # a voxel sees 9 x 9 x 9
    return nn.Sequential(*(layer for one in convolutions for layer in (one, nn.ReLU())), nn.Conv3d(9, 1, 1))


def draw(count: int, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Volumes with the walls of a box, and what lies inside, ``(count, 1, side, side, side)`` each."""
    extent = torch.randint(side // 2, side - 2, (count, 3), generator=generator)
    first = 1 + (torch.rand(count, 3, generator=generator) * (side - 2 - extent)).long()
    place = torch.stack(torch.meshgrid(*[torch.arange(side)] * 3, indexing="ij"))  # (3, side, side, side)
    low, high = (corner[:, :, None, None, None] for corner in (first, first + extent))
    box = ((place >= low) & (place <= high)).all(1, keepdim=True)
    inside = ((place > low) & (place < high)).all(1, keepdim=True)
    shape = (count, 1, side, side, side)
    return (box & ~inside).float() + 0.1 * torch.randn(shape, generator=generator), inside.float()


def train(name: str, steps: int, side: int, seed: int) -> nn.Module:
    """A network after ``steps`` steps of Adam on fresh volumes."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = make(name)
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for step in range(steps):
        volumes, inside = draw(4, side, generator)
        loss = functional.binary_cross_entropy_with_logits(model(volumes), inside)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"  {name}, step {step + 1}: loss {loss:.3f}", flush=True)
    return model


@torch.inference_mode()
def save_picture(models: dict[str, nn.Module], side: int, path: Path) -> None:
    """The middle slice of four volumes, what is wanted, and what is answered."""
    from matplotlib.figure import Figure

    volumes, inside = draw(4, side, torch.Generator().manual_seed(10_000))
    rows = {"volume": volumes, "wanted": inside} | {name: model(volumes).sigmoid() for name, model in models.items()}
    figure = Figure(figsize=(5.6, 1.42 * len(rows)), layout="constrained")
    for line, (name, shown) in zip(figure.subplots(len(rows), 4), rows.items(), strict=True):
        for axes, one in zip(line, shown, strict=True):
            axes.imshow(one[0, side // 2].numpy(), cmap="gray_r" if name == "volume" else "Blues", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, fontsize=9)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=90))


def main() -> None:
    """Train both, score them on fresh volumes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400, help="training steps (default: %(default)s)")
    parser.add_argument("--size", type=int, default=16, help="edge of the volumes (default: %(default)s)")
    parser.add_argument("--picture", type=Path, help="where to save a picture of some answers")
    args = parser.parse_args()
    models = {name: train(name, args.steps, args.size, 0) for name in NAMES}
    volumes, inside = draw(20, args.size, torch.Generator().manual_seed(20_000))
    for name, model in models.items():
        with torch.inference_mode():
            right = float(((model(volumes) > 0) == inside.bool()).float().mean())
        parameters = sum(p.numel() for p in model.parameters())
        print(f"{name}, {parameters:,} parameters: right at {right:.1%} of the voxels")
    print(f"always outside: {1 - inside.mean():.1%}")
    if args.picture:
        save_picture(models, args.size, args.picture)


if __name__ == "__main__":
    main()
