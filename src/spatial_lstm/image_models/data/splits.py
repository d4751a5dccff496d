"""What a model is trained on, chosen by and reported on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from spatial_lstm.arguments import check_positive_int
from spatial_lstm.image_models.data.grouping import alike

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
        train, validation, test: Images ``(C, H, W)`` of any sizes and one C, float32, of about [0, 1).
        sources: For each part, where its images are from: files relative to their folder, an area of one as ``"name.png[:, 0:384]"``
            (rows, columns), a range of one as ``"train-images-idx3-ubyte.gz[0:50000]"``; empty where nothing is known.
        notes: What there is to be said of the images, such as that they lost their color; sentences to print.

    Raises:
        ValueError: If an image is of another kind, or far from that scale.
    """

    name: str
    train: list[Tensor]
    validation: list[Tensor]
    test: list[Tensor]
    sources: Mapping[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        images = [*self.train, *self.validation, *self.test]
        _check_shapes(images)
        for low, high in _ranges(images):
            if not (low >= LOWEST and high <= HIGHEST):
                advice = ": divide integers by 256 (or 255), or use dequantize" if high > HIGHEST else ""
                raise ValueError(f"expected images of about 0 to 1, got values from {low:.4g} to {high:.4g}{advice}")

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
        if count >= len(self.train):
            return self
        sources = self.sources.get("train", [])
        if len(sources) == len(self.train):
            sources = sources[:count]
        elif sources:
            sources = [f"the first {count} of {', '.join(sources)}"]
        return replace(self, train=self.train[:count], sources={**self.sources, "train": sources})

    def record(self) -> dict[str, Any]:
        """Return what a report says of the data, as JSON takes it.

        ``"name"``, ``"notes"``, and ``"count"``, ``"pixels"`` and ``"sources"`` of each part.
        """
        parts = {
            part: {
                "count": len(self.part(part)),
                "pixels": _pixels(self.part(part)),
                "sources": list(self.sources.get(part, [])),
            }
            for part in PARTS
        }
        return {"name": self.name, **parts, "notes": list(self.notes)}

    def summary(self) -> dict[str, list[float]]:
        """Return, for each part, how many images and pixels it has and the means of some of its images: enough to know it again."""
        found = {}
        for name in PARTS:
            images = self.part(name)
            some = images[:: max(1, len(images) // SUMMARIZED)]
            found[name] = [len(images), _pixels(images), *(float(image.double().mean()) for image in some)]
        return found

    def resembles(self, summary: dict[str, list[float]]) -> bool:
        """Whether these are the images of a summary, up to what another machine's decoder of pictures may change."""
        own = self.summary()
        if own.keys() != summary.keys() or any(len(own[name]) != len(summary[name]) for name in own):
            return False
        return all(
            abs(a - b) <= SUMMARY_TOLERANCE for name in own for a, b in zip(own[name], summary[name], strict=True)
        )


def _pixels(images: Sequence[Tensor]) -> int:
    return sum(image.shape[1] * image.shape[2] for image in images)


def _check_shapes(images: Sequence[Tensor]) -> None:
    """Refuse images of another kind, empty ones, and some of other channels than the others."""
    for image in images:
        if image.ndim != 3 or image.dtype != torch.float32 or not image.numel():
            raise ValueError(f"expected float32 images of shape (C, H, W), got {image.dtype} {tuple(image.shape)}")
    channels = sorted({image.shape[0] for image in images})
    if len(channels) > 1:
        raise ValueError(f"expected images of one number of channels, got {' and '.join(map(str, channels))}")


def _ranges(images: Sequence[Tensor]) -> Iterator[tuple[float, float]]:
    """The least and the largest value of some images after the other; NaN where a value is."""
    for group in alike(images):
        low, high = torch.stack(group).aminmax()
        yield float(low), float(high)
