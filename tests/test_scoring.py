"""Scores of images of any sizes, their means and errors, and units that become one another."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spatial_lstm.image_models import ImageModel, LogProb, PixelRNN
from spatial_lstm.image_models.data import tiles
from spatial_lstm.image_models.scoring import ImageScore, Score, score_images
from spatial_lstm.image_models.units import BINARY, DENSITY, DISCRETE, bits_per_dimension, unit_of
from tests.image_models import make, textured


def sized(channels: int, *extents: tuple[int, int]) -> list[Tensor]:
    return [textured(1, channels, *extent)[0] for extent in extents]


@torch.no_grad()
@pytest.mark.parametrize("name", ["ride", "color", "mcgsm-rgb"])
def test_images_of_any_sizes_are_scored_one_by_one(name: str) -> None:
    model = make(name)
    images = sized(model.channels, (9, 12), (9, 12), (11, 8), (9, 12))
    found = score_images(model, images, ["a", "b", "c", "d"])
    alone = [model.log_prob(image[None]) for image in images]
    assert [image.nats for image in found.images] == pytest.approx([float(one.nats) for one in alone])
    assert [(image.name, image.pixels, image.tiles) for image in found.images] == [
        (name, one.pixels, 1) for name, one in zip("abcd", alone, strict=True)
    ]
    assert (found.channels, found.levels) == (model.channels, None)


@torch.no_grad()
def test_tiles_are_scored_each_by_itself() -> None:
    model = make("ride")
    images = sized(1, (17, 26), (9, 8))
    found = score_images(model, images, tile=8)
    for image, score in zip(images, found.images, strict=True):
        alone = model.log_prob(tiles([image], 8))
        assert score.nats == pytest.approx(float(alone.nats.sum()))
        assert (score.pixels, score.tiles) == (len(alone.nats) * alone.pixels, len(alone.nats))


class Counting(PixelRNN):
    """Tells tiles with true states: their number."""

    def log_prob_of_tiles(self, images: Tensor, side: int) -> LogProb:
        count = (images.shape[2] // side) * (images.shape[3] // side)
        return LogProb(torch.arange(float(len(images) * count)), side**2)


def test_tiles_with_true_states_are_those_of_their_images() -> None:
    images = [torch.zeros(1, 8, 12), torch.zeros(1, 8, 12), torch.zeros(1, 4, 4)]
    found = score_images(Counting(hidden_size=2), images, tile=4, states="true")
    assert [image.nats for image in found.images] == [15, 51, 0]
    assert [image.tiles for image in found.images] == [6, 6, 1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda model: score_images(model, []), "at least one image, got none"),
        (lambda model: score_images(model, sized(1, (8, 8)), tile=9), "at least 9x9"),
        (lambda model: score_images(model, sized(1, (8, 8)), tile=0), "tile to be positive"),
        (lambda model: score_images(model, sized(1, (8, 8)), states="some"), "expected states of zero or true"),
        (
            lambda model: score_images(model, sized(1, (8, 8)), states="true"),
            "expected tiles and a model that has states",
        ),
        (lambda model: score_images(model, sized(1, (8, 8)) * 2, ["a"]), "expected a name for each of 2 images, got 1"),
        (lambda model: score_images(model, [textured(1, 1, 8, 8)]), r"of shape \(C, H, W\), got \(1, 1, 8, 8\)"),
        (lambda model: score_images(model, torch.zeros(0, 1, 8, 8)), "at least one image, got none"),
    ],
    ids=["none", "small", "side", "states", "whole", "names", "many", "empty"],
)
def test_what_cannot_be_scored_is_refused(wrong: Callable[[ImageModel], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        wrong(make("mcgsm"))


def test_images_may_be_one_tensor_but_nothing_else() -> None:
    model, images = make("mcgsm"), textured(3, 1, 8, 9)
    assert score_images(model, images) == score_images(model, list(images))
    with pytest.raises(TypeError, match=r"expected each image to be a Tensor, got numpy\.ndarray"):
        score_images(model, [images[0], images[1].numpy()])  # type: ignore[list-item]


def score(values: list[tuple[float, int]], **options: Any) -> Score:
    images = [ImageScore(str(k), nats, pixels, 1) for k, (nats, pixels) in enumerate(values)]
    return Score(images, **{"channels": 1, "levels": None, **options})


def test_means_and_errors() -> None:
    """Equal images: the textbook's. Else of a ratio of sums, whose error is checked against the jackknife's."""
    bits = np.array([1.0, 2.0, 4.0, 3.5])
    equal = score([(float(b) * 10 * math.log(2), 10) for b in bits])
    assert equal.bits_per_pixel == pytest.approx(bits.mean())
    assert equal.standard_error == pytest.approx(bits.std(ddof=1) / 2)
    random = np.random.default_rng(0)
    sizes, rates = random.integers(80, 120, 300), random.normal(3, 1, 300)
    nats = sizes * rates * math.log(2)
    mixed = score([(float(a), int(b)) for a, b in zip(nats, sizes, strict=True)])
    assert mixed.bits_per_pixel == pytest.approx((sizes * rates).sum() / sizes.sum())
    without = np.array([(nats.sum() - a) / (sizes.sum() - b) / math.log(2) for a, b in zip(nats, sizes, strict=True)])
    jackknife = math.sqrt(299 / 300 * ((without - without.mean()) ** 2).sum())
    assert mixed.standard_error == pytest.approx(jackknife, rel=0.01)
    assert mixed.summary()["bits_per_pixel_mean_over_images"] == pytest.approx(rates.mean())
    assert math.isnan(score([(1.0, 2)]).standard_error)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_no_mean_but_a_name(wrong: float) -> None:
    found = score([(1.0, 2), (wrong, 2), (-math.inf, 2), (3.0, 2)], levels=2)
    assert found.not_finite == ["1", "2"]
    summary = found.summary()
    json.dumps(summary, allow_nan=False)
    means = (
        "bits_per_pixel",
        "standard_error",
        "bits_per_pixel_mean_over_images",
        "bits_per_dimension",
        "nats_per_image",
    )
    assert [summary[name] for name in means] == [None] * len(means)
    assert (summary["images"], summary["not_finite"]) == (4, ["1", "2"])
    assert found.finite().nats_per_image == -2
    assert math.isnan(score([(wrong, 2)]).finite().bits_per_pixel)


def test_units() -> None:
    assert [unit_of(make("ride")), unit_of(PixelRNN(hidden_size=2)), unit_of(PixelRNN(levels=256, hidden_size=2))] == [
        DENSITY,
        BINARY,
        DISCRETE,
    ]
    nats, pixels = -80.0, 784
    assert BINARY.of(2 * nats, 2 * pixels, 1, 2) == -80
    assert DENSITY.of(3 * pixels * math.log(2), pixels, 3) == pytest.approx(3)
    assert DISCRETE.of(-9 * pixels * math.log(2), pixels, 3) == pytest.approx(-3)
    # A uniform density on [0, 1], and uniform levels: 8 bits a channel.
    assert bits_per_dimension(0.0, 3, None) == bits_per_dimension(-24.0, 3, 256) == 8
    assert bits_per_dimension(3.7, 1, None) == pytest.approx(4.3)
    assert "per pixel (log2 of a pixel's density" in str(DENSITY)
