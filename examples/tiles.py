"""Read an image too large to hold at once, tile by tile: each tile gets its neighbors' far faces, and the result is that of the whole.

``python examples/tiles.py [--size 512] [--tile 128]``
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from torch import Tensor

from spatial_lstm import SpatialLSTM, State


def by_tiles(layer: SpatialLSTM, image: Tensor, tile: int) -> Iterator[tuple[int, int, Tensor]]:
    """Yield ``(row, column, output)`` of each tile of an image ``(1, C, H, W)``, read forward along both axes.

    Between tiles only faces are kept: one row above the current row of tiles, one column to the left of the current tile.
    """
    above: dict[int, tuple[Tensor | None, Tensor | None]] = {}
    for row in range(0, image.shape[2], tile):
        left: tuple[Tensor | None, Tensor | None] = (None, None)
        for column in range(0, image.shape[3], tile):
            top = above.get(column, (None, None))
            near = State((top[0], left[0]), (top[1], left[1]))
            output, far = layer(image[:, :, row : row + tile, column : column + tile], near)
            above[column], left = (far.h[0], far.c[0]), (far.h[1], far.c[1])
            yield row, column, output


def main() -> None:
    """Compare tile by tile with the whole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="height and width of the image (default: %(default)s)")
    parser.add_argument("--tile", type=int, default=128, help="height and width of a tile (default: %(default)s)")
    args = parser.parse_args()
    torch.manual_seed(0)
    layer, image = SpatialLSTM(3, 8), torch.randn(1, 3, args.size, args.size)
    with torch.inference_mode():
        whole, _ = layer(image)
        worst = 0.0
        for row, column, output in by_tiles(layer, image, args.tile):
            part = whole[:, :, row : row + args.tile, column : column + args.tile]
            worst = max(worst, float((output - part).abs().max()))
    print(
        f"{args.size}x{args.size} image in tiles of {args.tile}x{args.tile}: largest difference from the whole {worst:.2g}"
    )


if __name__ == "__main__":
    main()
