"""Train a layer on a field in tiles: the result of the whole, in the memory of a tile, and then run it over the field on disk.

``python examples/large_field.py [--size 1024] [--tile 128] [--steps 3]``

A step that held the whole field would keep about 30 bytes for every site, hidden unit and direction. The layer learns to say how bright the
field is on average above and to the left of every pixel, which it has to carry over all tiles.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from spatial_lstm import SpatialLSTM, stream


def draw(size: int) -> tuple[Tensor, Tensor]:
    """A field ``(1, 1, H, W)`` and, at every pixel, the mean of all pixels above and to the left of it."""
    field = torch.rand(1, 1, size, size)
    count = torch.arange(1, size + 1)
    return field, field.cumsum(2).cumsum(3) / (count[:, None] * count)


def train(layer: SpatialLSTM, head: nn.Module, field: Tensor, target: Tensor, steps: int, tile: int) -> None:
    """Print the loss of every step."""
    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], 1e-2)
    for step in range(steps):
        optimizer.zero_grad()
        output, _ = layer(field, tile=(tile, tile))
        loss = nn.functional.mse_loss(head(output), target)
        loss.backward()
        optimizer.step()
        print(f"step {step + 1}: loss {loss.item():.4f}")


def peak_bytes() -> int:
    """The largest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Train, tell the memory, then stream."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="height and width of the field (default: %(default)s)")
    parser.add_argument("--tile", type=int, default=128, help="height and width of a tile (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="training steps (default: %(default)s)")
    args = parser.parse_args()
    torch.manual_seed(0)
    hidden = 8
    layer, head = SpatialLSTM(1, hidden, cell="stable"), nn.Conv2d(hidden, 1, 1)
    field, target = draw(args.size)
    layer(field[:, :, : args.tile, : args.tile])  # loads what is loaded on first use
    before, units = peak_bytes(), args.size**2 * hidden
    train(layer, head, field, target, args.steps, args.tile)
    used = (peak_bytes() - before) / units
    print(
        f"{args.size}x{args.size} field in tiles of {args.tile}: {used:.1f} bytes per site and hidden unit, all in all"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "output.npy"
        sink = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(hidden, args.size, args.size))
        stream(layer, field[0], sink, tile=(args.tile, args.tile), progress=True)
        with torch.no_grad():
            output = layer(field, tile=(args.tile, args.tile))[0][0]
        print(f"from disk: largest difference from memory {float((torch.from_numpy(sink) - output).abs().max()):.2g}")


if __name__ == "__main__":
    main()
