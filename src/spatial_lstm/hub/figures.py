"""What a run's record says of how good its model is, and of its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from spatial_lstm.handwriting import HandwritingRecognizer

PARTS = ("validation", "test")
RATES = {"cer": "character error rate, %", "wer": "word error rate, %"}


@dataclass(frozen=True)
class Figure:
    """A number with what belongs to it.

    Attributes:
        metric: As the Hub calls it, such as ``"cer"``.
        name: In words, with its unit.
        meaning: What it is more closely, and whether more of it is better.
        part: Of the data: ``"validation"`` or ``"test"``.
        value: The number.
        uncertainty: In words; empty where none is known.
        of: How much data it is of, in words.
    """

    metric: str
    name: str
    meaning: str
    part: str
    value: float
    uncertainty: str
    of: str


def reads_lines(content: Mapping[str, Any]) -> bool:
    """Whether a model file holds a reader of handwriting, rather than an image model."""
    return bool(content["model"]["kind"] == HandwritingRecognizer.__name__)


def figures(content: Mapping[str, Any]) -> list[Figure]:
    """The figures of a model file, the test's first: none of a run that is not finished."""
    result = content.get("result") or {}
    found = _of_lines(result) if reads_lines(content) else _of_images(result)
    return sorted(found, key=lambda figure: figure.part)


def _of_lines(result: Mapping[str, Any]) -> Iterator[Figure]:
    for part in PARTS:
        told = result.get(part, {})
        for metric, name in RATES.items():
            if told.get(metric) is None:
                continue
            interval = told[f"{metric}_interval"]  # None of a single line
            bounds = " .. ".join(f"{100 * bound:.2f}" for bound in interval or ())
            between = bounds and f"{bounds} (95 %, bootstrap over {told['interval_over']})"
            of = f"{told['lines']:,} lines, {told['characters']:,} characters"
            yield Figure(metric, name, "lower is better", part, 100 * told[metric], between, of)


def _of_images(result: Mapping[str, Any]) -> Iterator[Figure]:
    test, validation = result.get("test", {}), result.get("validation", {})
    if test.get("bits_per_pixel") is not None:
        error = test.get("standard_error")
        uncertainty = "" if error is None else f"+- {error:.4f} (standard error over images)"
        side = test["tile"]
        of = f"{test['images']:,} images in {test['tiles']:,} tiles of {side}x{side}, {test['pixels']:,} pixels"
        name, _, meaning = test["unit"].partition(": ")
        yield Figure("bits_per_pixel", name, meaning, "test", test["bits_per_pixel"], uncertainty, of)
    if test.get("nats_per_image") is not None:
        error = test.get("nats_per_image_standard_error")
        uncertainty = "" if error is None else f"+- {error:.3f} (standard error over images)"
        meaning, of = "mean negative log-likelihood; lower is better", f"{test['images']:,} images"
        yield Figure("nats_per_image", "nats per image", meaning, "test", test["nats_per_image"], uncertainty, of)
    if validation.get("score") is not None:
        side = validation["tile"]
        of = f"{validation['tiles']:,} tiles of {side}x{side}, by which the weights were chosen"
        name, _, meaning = validation["unit"].removesuffix(")").partition(" (")
        yield Figure("log_likelihood", name, meaning, "validation", validation["score"], "", of)
