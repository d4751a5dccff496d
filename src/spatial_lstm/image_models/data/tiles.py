"""From images to the areas and tiles that are trained on and scored."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from spatial_lstm.image_models.data.grouping import alike


def split_columns(image: Tensor, held_out: float = 1 / 8) -> list[Tensor]:
    """Cut ``(C, H, W)`` from left to right into disjoint areas to train on, for validation and for test, the last two of this fraction."""
    edges = [round(image.shape[2] * part) for part in (0, 1 - 2 * held_out, 1 - held_out, 1)]
    return [image[:, :, a:b].contiguous() for a, b in pairwise(edges)]


def tiles(images: Sequence[Tensor] | Tensor, size: int, offset: tuple[int, int] = (0, 0)) -> Tensor:
    """All non-overlapping tiles ``(N, C, size, size)`` of images ``(C, H, W)``, beginning at ``offset``; what is left over is dropped.

    Raises:
        ValueError: If there is no image, or all of them are too small.
    """
    found = [_cut(torch.stack(group)[:, :, offset[0] :, offset[1] :], size) for group in alike(images)]
    if sum(map(len, found)) == 0:
        shapes = sorted({tuple(image.shape[1:]) for image in images})
        raise ValueError(f"expected an image of at least {size}x{size}, got {shapes[-1] if shapes else 'none'}")
    return torch.cat([cut for cut in found if len(cut)])


def _cut(images: Tensor, size: int) -> Tensor:
    """The tiles of images of one size, ``(N, C, H, W)``, those of an image together."""
    count, channels, height, width = images.shape
    rows, columns = height // size, width // size
    cut = images[:, :, : rows * size, : columns * size].reshape(count, channels, rows, size, columns, size)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(count * rows * columns, channels, size, size)


def turned(images: Tensor, which: Tensor) -> Tensor:
    """Each of the images ``(N, C, H, H)`` by the symmetry of the square of its number, 0 .. 7 in ``which``, ``(N,)``.

    They are sums: 1 flips left and right, 2 up and down, and 4, after these, rows and columns.
    """
    across, down, over = ((which & bit).bool()[:, None, None, None] for bit in (1, 2, 4))
    images = torch.where(across, images.flip(3), images)
    images = torch.where(down, images.flip(2), images)
    return torch.where(over, images.mT, images)


def with_flips(patches: Tensor) -> Tensor:
    """Patches ``(N, C, H, W)`` and behind them their left-right mirror images, ``(2N, C, H, W)``."""
    return torch.cat([patches, patches.flip(3)])
