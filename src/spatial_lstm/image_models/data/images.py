"""From integers to densities, and from images to the tiles that are trained on and scored.

All data sets are float32 on one scale: integers 0 .. 255 get U[0, 1) noise and are divided by 256, so that they fill [0, 1). Bits per pixel
are the mean log-likelihood of a pixel on that scale in base 2, higher is better; an integer pixel's code takes at most 8 minus as many bits
(per color channel).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatial_lstm.arguments import check_positive_int

# Of an 8-bit channel.
LEVELS = 256
PARTS = ("train", "validation", "test")
# What noise may make of values from 0 to 1; integers from 0 to 255 lie far beyond.
LOWEST, HIGHEST = -1.0, 2.0
# How many images of a part a summary looks at, about.
SUMMARIZED = 8
# Decoders of JPEG differ by a level of 256 at single pixels: far less in the mean.
SUMMARY_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Splits:
    """Disjoint images to train on, to choose by, and to report on.

    Attributes:
        name: Of the data set.
        train, validation, test: Images ``(C, H, W)`` of any sizes, float32, of about [0, 1).

    Raises:
        ValueError: If an image is of another kind, or far from that scale.
    """

    name: str
    train: list[Tensor]
    validation: list[Tensor]
    test: list[Tensor]

    def __post_init__(self) -> None:
        for image in (*self.train, *self.validation, *self.test):
            if image.ndim != 3 or image.dtype != torch.float32:
                raise ValueError(f"expected float32 images of shape (C, H, W), got {image.dtype} {tuple(image.shape)}")
            low, high = (float(bound) for bound in image.aminmax())
            if not (low >= LOWEST and high <= HIGHEST):
                raise ValueError(f"expected images of about 0 to 1, got values from {low:.4g} to {high:.4g}")

    @property
    def channels(self) -> int:
        """Channels of the images, C."""
        return self.train[0].shape[0]

    def part(self, name: str) -> list[Tensor]:
        """The images of ``"train"``, ``"validation"`` or ``"test"``."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]

    def limited(self, count: int) -> Splits:
        """With at most ``count`` training images.

        Raises:
            ValueError: If that leaves none.
        """
        check_positive_int("count", count)
        return replace(self, train=self.train[:count])

    def summary(self) -> dict[str, list[float]]:
        """Return, for each part, how many images and pixels it has and the means of some of its images: enough to know it again."""
        found = {}
        for name in PARTS:
            images = self.part(name)
            some = images[:: max(1, len(images) // SUMMARIZED)]
            pixels = sum(image[0].numel() for image in images)
            found[name] = [len(images), pixels, *(float(image.double().mean()) for image in some)]
        return found

    def resembles(self, summary: dict[str, list[float]]) -> bool:
        """Whether these are the images of a summary, up to what another machine's decoder of pictures may change."""
        own = self.summary()
        if own.keys() != summary.keys() or any(len(own[name]) != len(summary[name]) for name in own):
            return False
        return all(
            abs(a - b) <= SUMMARY_TOLERANCE for name in own for a, b in zip(own[name], summary[name], strict=True)
        )


def dequantize(pixels: NDArray[np.uint8], random: np.random.Generator) -> Tensor:
    """Integers ``(H, W)`` or ``(H, W, C)`` to ``(C, H, W)`` in [0, 1): U[0, 1) noise added, divided by 256.

    Raises:
        ValueError: If the type or the rank does not fit.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise ValueError(f"expected uint8 pixels of shape (H, W) or (H, W, C), got {pixels.dtype} {pixels.shape}")
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    noisy = (planes + random.random(planes.shape)) / LEVELS
    top = np.nextafter(np.float32(1), np.float32(0))
    return torch.from_numpy(np.minimum(noisy.astype(np.float32), top))


def split_columns(image: Tensor, held_out: float = 1 / 8) -> list[Tensor]:
    """Cut ``(C, H, W)`` from left to right into disjoint areas to train on, for validation and for test, the last two of this fraction."""
    edges = [round(image.shape[2] * part) for part in (0, 1 - 2 * held_out, 1 - held_out, 1)]
    return [image[:, :, a:b].contiguous() for a, b in pairwise(edges)]


def tiles(images: Sequence[Tensor] | Tensor, size: int, offset: tuple[int, int] = (0, 0)) -> Tensor:
    """All non-overlapping tiles ``(N, C, size, size)`` of images ``(C, H, W)``, beginning at ``offset``; what is left over is dropped.

    Raises:
        ValueError: If there is no image, or all of them are too small.
    """
    found = []
    for image in images:
        area = image[:, offset[0] :, offset[1] :]
        rows, columns = area.shape[1] // size, area.shape[2] // size
        area = area[:, : rows * size, : columns * size]
        cut = area.reshape(len(area), rows, size, columns, size)
        found.append(cut.permute(1, 3, 0, 2, 4).reshape(rows * columns, len(area), size, size))
    if sum(map(len, found)) == 0:
        shapes = sorted({tuple(image.shape[1:]) for image in images})
        raise ValueError(f"expected an image of at least {size}x{size}, got {shapes[-1] if shapes else 'none'}")
    return torch.cat([cut for cut in found if len(cut)])


def with_flips(patches: Tensor) -> Tensor:
    """Patches ``(N, C, H, W)`` and behind them their left-right mirror images, ``(2N, C, H, W)``."""
    return torch.cat([patches, patches.flip(3)])
