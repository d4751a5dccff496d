"""Image models in 16 bits and under autocast: their likelihoods are in neither, and they draw."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from spatial_lstm.image_models import MCGSM, ColorRIDE, Ensemble, ImageDensity, ImageModel, MultiscaleRIDE, PixelRNN
from tests.cases import assert_close
from tests.image_models import MODELS, make, textured

HALVES = [torch.float16, torch.bfloat16]
# Without the one whose cell states, here, float16 cannot hold.
HALVED = [name for name in MODELS if name != "ride-2-extended"]
DIGITS = 64


def pixel_model() -> PixelRNN:
    return PixelRNN(3, DIGITS, hidden_size=4)


def levels(*shape: int) -> Tensor:
    return torch.randint(DIGITS, shape) / (DIGITS - 1)


def in_float32(name: str) -> tuple[ImageModel, Tensor]:
    """A model and images that fit it."""
    if name == "pixelrnn":
        return pixel_model(), levels(2, 3, 16, 18)
    model = make(name).float()
    return model, textured(2, model.channels, 16, 18, torch.float32)


def without_memory(model: ImageModel) -> ImageModel:
    """The same with recurrences that say nothing, so that autocast has nothing to round that it may."""
    for key, parameter in model.named_parameters():
        if "lstm" in key:
            parameter.data.zero_()
    return model


@torch.no_grad()
@pytest.mark.parametrize("name", [*MODELS, "pixelrnn"])
def test_autocast_scores_in_full_precision(name: str) -> None:
    """All but the network's features."""
    model, images = in_float32(name)
    for scored in (model, Ensemble(model)):
        exact = scored.log_prob(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = scored.log_prob(images)
        assert found.nats.dtype == torch.float32
        assert found.pixels == exact.pixels
        assert ((found.nats - exact.nats) / exact.pixels).abs().max() < 0.05


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_autocast_changes_nothing_but_the_recurrence(name: str) -> None:
    """Neither scores nor samples, nor what a hole is filled with, nor a fit."""
    model, images = in_float32(name)
    without_memory(model)
    assert isinstance(model, (ImageDensity, ColorRIDE, MultiscaleRIDE))
    mask = torch.zeros(1, 1, 16, 18, dtype=torch.bool)
    mask[..., 5:12, 4:9] = True

    def found() -> Iterator[Tensor]:
        yield model.log_prob(images).nats
        yield model.sample(4, 6, 2, generator=torch.Generator().manual_seed(1))
        if not isinstance(model, MultiscaleRIDE):
            generator = torch.Generator().manual_seed(2)
            yield model.inpaint(images, mask, candidates=2, gibbs_sweeps=1, generator=generator)
        yield torch.tensor(copy.deepcopy(model).fit_mcgsm(images, max_iterations=3))

    expected = list(found())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for one, other in zip(found(), expected, strict=True):
            assert torch.equal(one, other)


@torch.no_grad()
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", [*HALVED, "pixelrnn"])
def test_likelihoods_are_not_in_16_bits(name: str, dtype: torch.dtype) -> None:
    """They are what the same weights say of the same images in float32, but for the rounding of features and whitened pixels."""
    model, images = in_float32(name)
    half, images = copy.deepcopy(model).to(dtype), images.to(dtype)
    exact = copy.deepcopy(half).float().log_prob(images.float())
    for scored in (half, Ensemble(half)):
        assert scored.log_prob(images).nats.dtype == torch.float32
    found = half.log_prob(images)
    assert ((found.nats - exact.nats) / exact.pixels).abs().max() < 0.1
    if isinstance(half, (ImageDensity, PixelRNN)):
        density = half.log_density(images)
        assert_close([found.nats], [density.double().flatten(1).sum(1)])
    if isinstance(half, ImageDensity):
        assert half.log_prob_of_tiles(images, 9).nats.dtype == torch.float32


@pytest.mark.parametrize("dtype", HALVES)
def test_large_images_do_not_overflow(dtype: torch.dtype) -> None:
    """Three channels of 64 x 64 pixels have more nats than the largest number of float16."""
    model, images = PixelRNN(3, 256, hidden_size=4, dtype=dtype), (torch.randint(256, (1, 3, 64, 64)) / 255).to(dtype)
    expected = copy.deepcopy(model).float().log_density(images.float()).sum()
    found = model.log_prob(images)
    assert expected < -65504
    assert abs(found.nats.item() / expected.item() - 1) < 1e-3
    assert model.log_density_by_pixels(images[..., :3, :3]).dtype == torch.float32
    loss = -found.bits_per_pixel.mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@torch.no_grad()
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", HALVED)
def test_models_of_16_bits_draw(name: str, dtype: torch.dtype) -> None:
    model, images = in_float32(name)
    model, images = model.to(dtype), images.to(dtype)
    mask = torch.zeros(1, 1, 16, 18, dtype=torch.bool)
    mask[..., 5:12, 4:9] = True
    drawn = [model.sample(4, 6, 2)]
    if isinstance(model, (ImageDensity, ColorRIDE)):
        drawn.append(model.inpaint(images, mask, candidates=2, gibbs_sweeps=1))
    for found in drawn:
        assert found.dtype == dtype
        assert found.isfinite().all()


def test_16_bits_by_default() -> None:
    torch.set_default_dtype(torch.float16)
    try:
        model = ColorRIDE(hidden_size=3, components=2, features=2)
        assert model.sample(4, 4).dtype == torch.float16
    finally:
        torch.set_default_dtype(torch.float32)


@torch.no_grad()
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("dim_out", [1, 2])
def test_a_density_of_16_bits_computes_in_float32(dim_out: int, dtype: torch.dtype) -> None:
    density = MCGSM(3, dim_out, components=3, scales=2, features=4, dtype=dtype)
    x, y = torch.randn(50, 3, dtype=dtype), torch.randn(50, dim_out, dtype=dtype)
    exact = copy.deepcopy(density).float()
    assert torch.equal(density.log_prob(x, y), exact.log_prob(x.float(), y.float()))
    drawn = density.sample(x, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, exact.sample(x.float(), torch.Generator().manual_seed(0)).to(dtype))
