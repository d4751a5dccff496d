"""Dead leaves: images of overlapping discs, after the model of Matheron as used by Lee, Mumford & Huang, 2001, by one fixed recipe."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# The recipe's radii and noise. The data of Theis & Bethge, 2015, are not to be had, so these are ours.
SMALLEST, LARGEST = 2.0, 64.0
NOISE = 0.05
# Discs drawn at once; part of the recipe, as it fixes which random number goes where.
CHUNK = 1024


def dead_leaves(
    count: int,
    height: int,
    width: int,
    *,
    seed: int,
    first: int = 0,
    noise: float = NOISE,
    radii: tuple[float, float] = (SMALLEST, LARGEST),
) -> Tensor:
    """Images of discs that hide one another, ``(count, 1, height, width)``, float32.

    Discs lie front to back until every pixel is covered. Radii follow p(r) ~ r^-3 on ``radii``, centers are uniform on the canvas grown by
    the largest radius on every side, intensities are U(0, 1), and Gaussian noise is added to each pixel. With the default noise no model
    can exceed :func:`noise_bound` = 2.275 bits per pixel.

    Image i depends on ``seed``, ``first + i`` and the other arguments alone, so a set can be made in parts.

    Args:
        count: Number of images, 0 or more.
        height: In pixels.
        width: In pixels.
        seed: 0 or more; different seeds give unrelated images.
        first: Number of the first image.
        noise: Standard deviation of the noise.
        radii: Smallest and largest radius, in pixels.

    Raises:
        ValueError: If an argument is out of range.
    """
    if min(count, seed, first) < 0 or min(height, width) < 1:
        raise ValueError(
            f"expected count, seed and first >= 0 and a size >= 1x1, got {count}, {seed}, {first}, {height}x{width}"
        )
    if not 0.5 <= radii[0] <= radii[1] < math.inf:
        raise ValueError(f"expected finite radii 0.5 <= smallest <= largest, got {radii}")
    if not 0 <= noise < math.inf:
        raise ValueError(f"expected a finite noise >= 0, got {noise}")
    images = np.empty((count, 1, height, width), np.float32)
    for index in range(count):
        random = np.random.default_rng([seed, first + index])
        leaves = _leaves(height, width, radii, random)
        images[index, 0] = leaves + noise * random.standard_normal((height, width))
    return torch.from_numpy(images)


def noise_bound(noise: float = NOISE) -> float:
    """The most bits per pixel that any model can reach: minus the differential entropy of the noise."""
    return -0.5 * math.log2(2 * math.pi * math.e * noise**2)


def _leaves(height: int, width: int, radii: tuple[float, float], random: np.random.Generator) -> NDArray[np.float64]:
    """One image without noise, ``(height, width)``."""
    image = np.empty(height * width)
    covered = np.zeros(height * width, dtype=bool)
    while not covered.all():
        radius = _draw_radii(random.random(CHUNK), radii)
        row = random.uniform(-radii[1], height - 1 + radii[1], CHUNK)
        column = random.uniform(-radii[1], width - 1 + radii[1], CHUNK)
        intensity = random.random(CHUNK)
        disc, pixel = _rasterize(row, column, radius, height, width)
        free = ~covered[pixel]
        disc, pixel = disc[free], pixel[free]
        image[pixel[::-1]] = intensity[disc[::-1]]  # the last assignment stands: that of the foremost disc
        covered[pixel] = True
    return image.reshape(height, width)


def _draw_radii(uniform: NDArray[np.float64], radii: tuple[float, float]) -> NDArray[np.float64]:
    """Radii of density ~ r^-3 by inverting the distribution function."""
    smallest, largest = radii[0] ** -2, radii[1] ** -2
    return (smallest - uniform * (smallest - largest)) ** -0.5


def _rasterize(
    row: NDArray[np.float64], column: NDArray[np.float64], radius: NDArray[np.float64], height: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every (disc, pixel) with the pixel's center in the disc, disc by disc in order; pixels in raster order from 0."""
    disc, y = _spans(np.ceil(row - radius), np.floor(row + radius), height)
    half = np.sqrt(np.maximum(radius[disc] ** 2 - (y - row[disc]) ** 2, 0))
    span, x = _spans(np.ceil(column[disc] - half), np.floor(column[disc] + half), width)
    return disc[span], y[span] * width + x


def _spans(
    start: NDArray[np.float64], stop: NDArray[np.float64], extent: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All integers of the closed intervals within 0 .. extent - 1: each one's interval, and the integer."""
    begin = np.maximum(start, 0).astype(np.int64)
    length = np.maximum(np.minimum(stop, extent - 1).astype(np.int64) - begin + 1, 0)
    owner = np.repeat(np.arange(len(length)), length)
    before = np.cumsum(length) - length
    return owner, np.arange(len(owner)) - before[owner] + begin[owner]
