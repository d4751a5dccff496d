"""From the levels of integer pixels to images: to densities on [0, 1), or to zeros and ones.

All data sets are float32 on one scale: integers 0 .. 255 get U[0, 1) noise and are divided by 256, so that they fill [0, 1). Bits per pixel
are the mean log-likelihood of a pixel on that scale in base 2, higher is better; an integer pixel's code takes at most 8 minus as many bits
(per color channel).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatial_lstm.image_models.data.grouping import alike

# Of an 8-bit channel.
LEVELS = 256
Binarization = Literal["threshold", "sample"]
BINARIZATIONS = ("threshold", "sample")
# What is remarked of pictures with other levels than black and white.
BINARIZED = {
    "threshold": "grays made black and white: white from 128 on",
    "sample": "grays made black and white: white with chance pixel/255",
}
# The largest float32 below the next level: what rounding must not pass.
TOPS = np.nextafter(np.arange(1, LEVELS + 1, dtype=np.float32) / LEVELS, np.float32(0))


def dequantize(pixels: NDArray[np.uint8], random: np.random.Generator) -> Tensor:
    """Integers ``(H, W)`` or ``(H, W, C)`` to ``(C, H, W)`` in [0, 1): U[0, 1) noise added, divided by 256.

    The integers are found again as floor(256 x), exactly.

    Raises:
        ValueError: If the type or the rank does not fit.
    """
    return encode([pixels], random)[0]


def binarize(pixels: NDArray[np.uint8], how: Binarization, random: np.random.Generator) -> Tensor:
    """Integers ``(H, W)`` or ``(H, W, C)`` to ``(C, H, W)`` of exactly 0 and 1.

    Args:
        pixels: From 0 to 255.
        how: ``"threshold"``: 1 from 128 on; ``"sample"``: 1 with probability pixel / 255.
        random: Where the samples come from; it moves on by as much whatever ``how`` is.

    Raises:
        ValueError: If the type, the rank or ``how`` does not fit.
    """
    check_binarization(how)
    return encode([pixels], random, how)[0]


def check_binarization(how: str | None) -> None:
    """Refuse what is neither None nor a way to binarize."""
    if how is not None and how not in BINARIZATIONS:
        raise ValueError(f"expected binarize to be None or one of {', '.join(BINARIZATIONS)}, got {how!r}")


def has_grays(pixels: NDArray[np.uint8]) -> bool:
    """Whether binarizing loses something: levels other than 0 and 255."""
    return bool(((pixels != 0) & (pixels != LEVELS - 1)).any())


def encode(
    pictures: Sequence[NDArray[np.uint8]], random: np.random.Generator, how: Binarization | None = None
) -> list[Tensor]:
    """Dequantize pictures, or binarize them.

    Equal to one picture after the other; pictures of one size are taken many at once. Whatever is done with them, as many random numbers
    are drawn, so that what is drawn afterwards does not depend on it.

    Raises:
        ValueError: If the type or the rank of one does not fit.
    """
    for pixels in pictures:
        if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
            raise ValueError(f"expected uint8 pixels of shape (H, W) or (H, W, C), got {pixels.dtype} {pixels.shape}")
    images: list[Tensor] = []
    for group in alike(pictures):
        stack = np.stack(group)  # (N, H, W) or (N, H, W, C)
        planes = stack[:, None] if stack.ndim == 3 else stack.transpose(0, 3, 1, 2)  # (N, C, H, W)
        uniform = random.random(planes.shape)
        images += torch.from_numpy(_encode(planes, uniform, how)).unbind()
    return images


def _encode(planes: NDArray[np.uint8], uniform: NDArray[np.float64], how: Binarization | None) -> NDArray[np.float32]:
    if how == "threshold":
        return (planes >= LEVELS // 2).astype(np.float32)
    if how == "sample":
        return (uniform * (LEVELS - 1) < planes).astype(np.float32)
    uniform += planes
    uniform /= LEVELS
    return np.minimum(uniform.astype(np.float32), TOPS[planes])
