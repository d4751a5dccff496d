"""Likelihoods of images of any sizes, one by one: whole, or in tiles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from spatial_lstm.arguments import as_positive_int, kind
from spatial_lstm.image_models.base import ImageModel, LogProb, Progress
from spatial_lstm.image_models.checks import check_some
from spatial_lstm.image_models.data import tiles
from spatial_lstm.image_models.units import bits_per_dimension, meaning_of_bits_per_pixel

# Pixels scored together at most, if they are more than one image's.
AT_ONCE = 1 << 16
STATES = ("zero", "true")


@runtime_checkable
class ScoresTiles(Protocol):
    """A model that can score the tiles of images, each given all that comes before it."""

    def log_prob_of_tiles(self, images: Tensor, side: int) -> LogProb:
        """Return the log-likelihood of the tiles of images ``(N, C, H, W)``, image by image."""


class ImageScore(NamedTuple):
    """The log-likelihood of one image.

    Attributes:
        name: Of the image.
        nats: Of all its scored pixels together.
        pixels: How many these are; one of several channels counts once.
        tiles: That it was scored in; 1 if whole.
    """

    name: str
    nats: float
    pixels: int
    tiles: int

    @property
    def bits_per_pixel(self) -> float:
        """Higher is better."""
        return self.nats / (self.pixels * math.log(2))


@dataclass(frozen=True)
class Score:
    """Log-likelihoods of images, and their means.

    Attributes:
        images: One by one.
        channels: Of a pixel.
        levels: Of a channel; None where pixels have a density.
    """

    images: list[ImageScore]
    channels: int
    levels: int | None

    @property
    def not_finite(self) -> list[str]:
        """Names of the images whose log-likelihood is infinite or no number."""
        return [image.name for image in self.images if not math.isfinite(image.nats)]

    def finite(self) -> Score:
        """Return the score without the images whose log-likelihood is not finite."""
        return replace(self, images=[image for image in self.images if math.isfinite(image.nats)])

    @property
    def nats(self) -> float:
        """Of all images together; NaN if one's is not finite, or there is none."""
        return math.nan if self.not_finite or not self.images else math.fsum(image.nats for image in self.images)

    @property
    def pixels(self) -> int:
        """Of all images together."""
        return sum(image.pixels for image in self.images)

    @property
    def bits_per_pixel(self) -> float:
        """Mean over all pixels, so that large images count for more; higher is better."""
        return self.nats / (self.pixels * math.log(2)) if self.images else math.nan

    @property
    def standard_error(self) -> float:
        """Of :attr:`bits_per_pixel`, for images drawn independently; NaN for a single one."""
        mean, equal = self.bits_per_pixel, self.pixels / max(1, len(self.images))
        return _standard_error([image.pixels / equal * (image.bits_per_pixel - mean) for image in self.images])

    @property
    def nats_per_image(self) -> float:
        """Mean negative log-likelihood of an image; lower is better."""
        return -self.nats / len(self.images) if self.images else math.nan

    def summary(self) -> dict[str, Any]:
        """Return the means with their standard errors and what they are of, as JSON takes it: None for what is not finite or not known."""
        bits = self.bits_per_pixel
        means = {
            "bits_per_pixel": bits,
            "standard_error": self.standard_error,
            "bits_per_pixel_mean_over_images": _mean([image.bits_per_pixel for image in self.images]),
            "bits_per_dimension": bits_per_dimension(bits, self.channels, self.levels),
        }
        if self.levels == 2:
            means["nats_per_image"] = self.nats_per_image
            means["nats_per_image_standard_error"] = self.nats_error
        return {
            **{name: value if math.isfinite(value) else None for name, value in means.items()},
            "unit": f"bits per pixel: {meaning_of_bits_per_pixel(self.channels, self.levels)}, over all pixels",
            "images": len(self.images),
            "tiles": sum(image.tiles for image in self.images),
            "pixels": self.pixels,
            "not_finite": self.not_finite,
        }

    @property
    def nats_error(self) -> float:
        """Standard error of :attr:`nats_per_image`; NaN for a single one."""
        return _standard_error([image.nats for image in self.images])


@torch.no_grad()
def score_images(
    model: ImageModel,
    images: Sequence[Tensor] | Tensor,
    names: Sequence[str] | None = None,
    *,
    tile: int | None = None,
    states: str = "zero",
    progress: Progress | None = None,
) -> Score:
    """Return the likelihoods of images.

    Args:
        model: Whose likelihoods they are; the images go to its device and type.
        images: ``(C, H, W)`` of any sizes, or ``(N, C, H, W)``.
        names: Of the images; None for their numbers.
        tile: Side of the tiles that each image is cut into, what is left over being dropped; None for whole images.
        states: ``"zero"``: each tile by itself. ``"true"``: given all that comes before it in its image.
        progress: Called with the images done and their number.

    Raises:
        ValueError: If there is no image, one does not fit the model or is smaller than a tile, the names are more or fewer than the images,
            or the model knows no true states.
        TypeError: If an image is no Tensor, or ``tile`` no int.
    """
    check_some(images)
    for image in images:
        _check_image(image)
    tile = None if tile is None else as_positive_int("tile", tile)
    if states not in STATES:
        raise ValueError(f"expected states of {' or '.join(STATES)}, got {states!r}")
    if states == "true" and (tile is None or not isinstance(model, ScoresTiles)):
        raise ValueError(f"expected tiles and a model that has states to score them with, got {type(model).__name__}")
    labels = [str(place) for place in range(len(images))] if names is None else list(names)
    if len(labels) != len(images):
        raise ValueError(f"expected a name for each of {len(images)} images, got {len(labels)}")
    like = next(chain(model.parameters(), model.buffers()))
    found: list[ImageScore] = []
    for batch in _batches(images):
        nats, pixels, parts = _score(model, torch.stack(batch).to(like.device, like.dtype), tile, states)
        own = labels[len(found) : len(found) + len(batch)]
        found += [ImageScore(name, value, pixels, parts) for name, value in zip(own, nats.tolist(), strict=True)]
        if progress:
            progress(len(found), len(images))
    return Score(found, model.channels, model.levels)


def _check_image(image: object) -> None:
    """Refuse anything but an image ``(C, H, W)``, whatever its numbers."""
    if not isinstance(image, Tensor):
        raise TypeError(f"expected each image to be a Tensor, got {kind(image)}")
    if image.ndim != 3:
        raise ValueError(f"expected images of shape (C, H, W), got {tuple(image.shape)}")


def _score(model: ImageModel, images: Tensor, tile: int | None, states: str) -> tuple[Tensor, int, int]:
    """Of images ``(N, C, H, W)``: nats ``(N,)``, scored pixels and tiles of each."""
    if tile is None:
        found, each = model.log_prob(images), 1
    else:
        cut = tiles(images, tile)
        each = len(cut) // len(images)
        if states == "true" and isinstance(model, ScoresTiles):
            found = model.log_prob_of_tiles(images, tile)
        else:
            batches = [model.log_prob(part) for part in cut.split(max(1, AT_ONCE // tile**2))]
            found = LogProb(torch.cat([part.nats for part in batches]), batches[0].pixels)
    return found.nats.double().view(len(images), each).sum(1), found.pixels * each, each


def _batches(images: Sequence[Tensor] | Tensor) -> Iterator[list[Tensor]]:
    """Images of one size that follow one another, a few at a time."""
    for shape, group in groupby(images, key=lambda image: image.shape):
        alike = list(group)
        size = max(1, AT_ONCE // max(1, shape[1] * shape[2]))
        for start in range(0, len(alike), size):
            yield alike[start : start + size]


def _mean(values: Sequence[float]) -> float:
    """NaN of none, or where one is not finite."""
    return math.fsum(values) / len(values) if values and all(map(math.isfinite, values)) else math.nan


def _standard_error(values: Sequence[float]) -> float:
    """Of a mean; NaN of a single value, or where one is not finite."""
    mean, count = _mean(values), len(values)
    if count < 2 or not math.isfinite(mean):
        return math.nan
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count * (count - 1)))
