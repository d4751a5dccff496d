"""What image models are given: other kinds of numbers, wrong sizes and wrong images."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from spatial_lstm.image_models import (
    MCGSM,
    RIDE,
    CausalNeighborhood,
    ColorRIDE,
    ConditionalWhitening,
    Ensemble,
    ImageDensity,
    ImageModel,
    LinearGaussian,
    MCGSMImage,
    MultiscaleRIDE,
    PixelRNN,
)
from spatial_lstm.image_models.base import HasConditional
from spatial_lstm.image_models.checks import NotFiniteError
from spatial_lstm.image_models.pixelrnn import MaskedConv2d
from spatial_lstm.image_models.scoring import score_images

SIZES: dict[str, tuple[type[ImageModel], dict[str, int]]] = {
    "ride": (RIDE, {"channels": 2, "neighborhood": 3, "hidden_size": 3, "num_layers": 2, "components": 2, "scales": 2}),
    "ride-given": (RIDE, {"hidden_size": 2, "features": 3, "condition_channels": 1}),
    "mcgsm": (MCGSMImage, {"channels": 2, "neighborhood": 3, "components": 2, "scales": 2, "features": 3}),
    "linear": (LinearGaussian, {"channels": 2, "neighborhood": 3, "condition_channels": 1}),
    "color": (ColorRIDE, {"neighborhood": 3, "hidden_size": 2, "components": 2, "features": 2}),
    "multiscale": (MultiscaleRIDE, {"neighborhood": 3, "hidden_size": 2, "components": 2, "features": 2}),
    "pixelrnn": (PixelRNN, {"channels": 2, "levels": 3, "hidden_size": 2, "num_layers": 2, "kernel_size": 3}),
    "pixelrnn-head": (PixelRNN, {"hidden_size": 2, "head_features": 5}),
}
MODELS: dict[str, Callable[[], ImageModel]] = {
    "ride": lambda: RIDE(hidden_size=2, components=2, features=2),
    "linear": LinearGaussian,
    "color": lambda: ColorRIDE(hidden_size=2, components=2, features=2),
    "multiscale": lambda: MultiscaleRIDE(hidden_size=2, components=2, features=2),
    "pixelrnn": lambda: PixelRNN(hidden_size=2),
    "ensemble": lambda: Ensemble(RIDE(hidden_size=2, components=2, features=2)),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_may_be_ints_of_numpy(name: str) -> None:
    """And a model's description, which goes into JSON, has Python's."""
    kind, sizes = SIZES[name]
    model, expected = kind(**{key: np.int64(size) for key, size in sizes.items()}), kind(**sizes)
    assert json.dumps(model.config()) == json.dumps(expected.config())
    assert model.config().items() >= sizes.items()
    assert repr(model) == repr(expected)
    assert {key: value.shape for key, value in model.state_dict().items()} == {
        key: value.shape for key, value in expected.state_dict().items()
    }
    for own in (model.channels, model.border, model.levels):
        assert own is None or type(own) is int


def test_sizes_of_parts_may_be_ints_of_numpy() -> None:
    assert repr(MCGSM(np.int64(3), np.int32(2))) == repr(MCGSM(3, 2))
    assert repr(ConditionalWhitening(np.int64(3), np.int32(2))) == repr(ConditionalWhitening(3, 2))
    assert repr(CausalNeighborhood(np.int64(3), np.int32(2), np.int8(1))) == repr(CausalNeighborhood(3, 2, 1))
    assert repr(MaskedConv2d(np.int64(3), np.int32(2), np.int8(5))) == repr(MaskedConv2d(3, 2, 5))


@pytest.mark.parametrize("name", MODELS)
def test_numbers_may_be_ints_of_numpy(name: str) -> None:
    model = MODELS[name]()
    images = model.sample(np.int64(8), np.int32(10), np.int8(3))
    assert images.shape == (3, model.channels, 8, 10)
    images = torch.zeros(3, model.channels, 24, 24)
    assert model.bits_per_pixel(images, np.int64(2)) == model.bits_per_pixel(images, 2)
    assert score_images(model, images, tile=np.int64(12)) == score_images(model, images, tile=12)
    if isinstance(model, (RIDE, ColorRIDE, MultiscaleRIDE)):
        assert model.sample(8, 10, margin=np.int64(4)).shape == (1, model.channels, 8, 10)
        found, expected = (model.log_prob_of_tiles(images, side) for side in (np.int64(12), 12))
        assert torch.equal(found.nats, expected.nats)
    if isinstance(model, (RIDE, ColorRIDE)):
        mask = torch.zeros(1, 1, 24, 24, dtype=torch.bool)
        mask[..., 8, 8] = True
        assert model.inpaint(images, mask, candidates=np.int64(2), gibbs_sweeps=np.int64(1)).shape == images.shape
        assert math.isfinite(model.fit_mcgsm(images, max_iterations=np.int64(1)))


@pytest.mark.parametrize(
    ("sizes", "error", "said"),
    [
        ((0, 4), ValueError, "expected height to be positive, got 0"),
        ((4, -2), ValueError, "expected width to be positive, got -2"),
        ((4, 4, 0), ValueError, "expected num to be positive, got 0"),
        ((4, 4, -1), ValueError, "expected num to be positive, got -1"),
        ((4.0, 4), TypeError, "expected height to be an int, got float"),
        ((4, "4"), TypeError, "expected width to be an int, got str"),
        ((4, 4, True), TypeError, "expected num to be an int, got bool"),
    ],
)
@pytest.mark.parametrize("name", MODELS)
def test_samples_of_no_size_are_refused(name: str, sizes: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        MODELS[name]().sample(*sizes)


def test_margins_that_are_none() -> None:
    for name in ("ride", "color", "multiscale"):
        model = MODELS[name]()
        assert isinstance(model, (RIDE, ColorRIDE, MultiscaleRIDE))
        with pytest.raises(TypeError, match="expected margin to be an int, got float"):
            model.sample(4, 4, margin=16.0)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=f"expected a margin of at least {model.border}, got 1"):
            model.sample(4, 4, margin=1)


def uses(model: ImageModel) -> dict[str, Callable[[Any], object]]:
    """All that can be done with images."""
    mask = torch.zeros(1, 1, 12, 12, dtype=torch.bool)
    mask[..., 6, 6] = True
    return {
        "log_prob": model.log_prob,
        "bits_per_pixel": model.bits_per_pixel,
        **{
            name: lambda images, name=name, more=more: getattr(model, name)(images, *more)
            for name, more in (
                ("log_density", ()),
                ("log_prob_of_tiles", (12,)),
                ("inpaint", (mask,)),
                ("fit_whitening", ()),
                ("fit_mcgsm", ()),
            )
            if hasattr(model, name)
        },
    }


@pytest.mark.parametrize("name", MODELS)
def test_what_is_no_images_is_refused(name: str) -> None:
    model = MODELS[name]()
    images = torch.zeros(2, model.channels, 12, 12)
    shape = rf"expected images of shape \(N, {model.channels}, H, W\), got"
    for use in uses(model).values():
        with pytest.raises(TypeError, match=r"expected images to be a Tensor, got numpy\.ndarray"):
            use(images.numpy())
        with pytest.raises(TypeError, match=r"expected images of a floating point type, got torch\.uint8"):
            use(images.byte())
        with pytest.raises(ValueError, match=rf"{shape} \({model.channels}, 12, 12\)"):
            use(images[0])
        with pytest.raises(ValueError, match=rf"{shape} \(2, 4, 12, 12\)"):
            use(torch.zeros(2, 4, 12, 12))


@pytest.mark.parametrize("name", ["ride", "linear", "color", "multiscale"])
def test_what_cannot_be_fitted_is_refused(name: str) -> None:
    model = MODELS[name]()
    assert isinstance(model, HasConditional)
    images = torch.randn(3, model.channels, 12, 12)
    wrong = images.clone()
    wrong[1, 0, 5, 5] = math.nan
    with pytest.raises(ValueError, match="expected at least one image, got none"):
        model.fit_mcgsm(images[:0])
    with pytest.raises(NotFiniteError, match="expected finite images, got 1 of 3 that are not"):
        model.fit_mcgsm(wrong)
    with pytest.raises(NotFiniteError, match="expected finite images, got 1 of 3 that are not"):
        model.fit_mcgsm(images, validation=wrong)


def test_steps_that_are_none() -> None:
    density, rows = MCGSM(3), (torch.randn(20, 3), torch.randn(20, 1))
    with pytest.raises(ValueError, match="expected max_iterations of at least 0, got -1"):
        density.fit(*rows, max_iterations=-1)
    with pytest.raises(TypeError, match="expected max_iterations to be an int, got float"):
        density.fit(*rows, max_iterations=2.5)  # type: ignore[arg-type]
    with torch.no_grad():
        assert density.fit(*rows, max_iterations=0) == pytest.approx(-density.log_prob(*rows).mean().item())
    for name in ("ride", "color"):
        model = MODELS[name]()
        assert isinstance(model, (ImageDensity, ColorRIDE))
        images, mask = torch.zeros(1, model.channels, 12, 12), torch.zeros(1, 1, 12, 12, dtype=torch.bool)
        with pytest.raises(TypeError, match="expected gibbs_sweeps to be an int, got float"):
            model.inpaint(images, mask, gibbs_sweeps=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("where", ["data", "validation", "start"])
def test_a_fit_that_cannot_begin_is_refused(where: str) -> None:
    density, rows, wrong = MCGSM(3), (torch.randn(20, 3), torch.randn(20, 1)), torch.randn(20, 3)
    wrong[7, 1] = math.inf if where == "validation" else math.nan
    if where == "start":
        density.eta.data.fill_(math.nan)
    data = (wrong, rows[1]) if where == "data" else rows
    with pytest.raises(NotFiniteError, match="expected rows with a finite log-likelihood at the start, got a mean of"):
        density.fit(*data, validation=(wrong, rows[1]) if where == "validation" else None)


@pytest.mark.filterwarnings("ignore:expected images on the scale:UserWarning")
@pytest.mark.parametrize("name", ["ride", "linear", "color"])
def test_images_that_are_not_finite_around_a_hole_are_refused(name: str) -> None:
    model = MODELS[name]()
    assert isinstance(model, (ImageDensity, ColorRIDE))
    images, mask = torch.randn(2, model.channels, 12, 12), torch.zeros(1, 1, 12, 12, dtype=torch.bool)
    mask[..., 6, 6] = True
    for wrong in (math.nan, math.inf):
        images[1, 0, 3, 3] = wrong
        with pytest.raises(NotFiniteError, match="expected finite images outside of their holes, got 1 of 2 that are"):
            model.inpaint(images, mask)


def test_a_condition_that_is_not_finite_around_a_hole_is_refused() -> None:
    model = LinearGaussian(condition_channels=1)
    images = torch.zeros(1, 1, 12, 12)
    with pytest.raises(NotFiniteError, match="expected finite conditions, got 1 of 1 that are not"):
        model.inpaint(images, torch.zeros(1, 1, 12, 12, dtype=torch.bool), images + math.nan)
