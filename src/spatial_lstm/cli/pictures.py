"""Pictures as pixels of 8 bits: what models draw, sheets of it, PNG files. Needs Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

# Between the images of a sheet: a light gray of so many pixels.
GAP, GAP_LEVEL = 2, 200
# Small images are enlarged on a sheet, up to about so many pixels a side.
LEGIBLE = 128


def to_pixels(image: Tensor) -> NDArray[np.uint8]:
    """An image ``(C, H, W)`` of one or three channels to ``(H, W)`` or ``(H, W, 3)``, the integers that dequantization came from."""
    levels = (image.detach().cpu().double() * 256).floor().clamp(0, 255)
    pixels = levels.permute(1, 2, 0).numpy().astype(np.uint8)
    return pixels if pixels.shape[2] == 3 else pixels[..., 0]


def sheet(pictures: Sequence[NDArray[np.uint8]], zoom: int | None = None) -> NDArray[np.uint8]:
    """Pictures of one size in rows, nearly as many as there are in each.

    Args:
        pictures: ``(H, W)`` or ``(H, W, 3)``.
        zoom: Pixels a side that each of theirs becomes; None to make small pictures legible.
    """
    height, width = pictures[0].shape[:2]
    zoom = zoom or max(1, LEGIBLE // max(height, width))
    tall, wide = zoom * height + GAP, zoom * width + GAP
    columns = min(len(pictures), max(1, round((len(pictures) * tall / wide) ** 0.5)))
    rows = -(-len(pictures) // columns)
    found = np.full((rows * tall - GAP, columns * wide - GAP, *pictures[0].shape[2:]), GAP_LEVEL, np.uint8)
    for place, picture in enumerate(pictures):
        top, left = place // columns * tall, place % columns * wide
        found[top : top + zoom * height, left : left + zoom * width] = picture.repeat(zoom, 0).repeat(zoom, 1)
    return found


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write pixels ``(H, W)`` or ``(H, W, 3)``.

    Raises:
        ModuleNotFoundError: If Pillow is missing.
    """
    from PIL import Image

    from spatial_lstm.files import write_atomically

    picture = Image.fromarray(pixels)
    write_atomically(path, lambda file: picture.save(file, format="PNG"))
