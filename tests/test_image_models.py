"""What all image models share, and the variants: ensembles, color, two scales."""

from __future__ import annotations

import math

import pytest
import torch

from spatial_lstm.image_models import RIDE, ColorRIDE, Ensemble, LinearGaussian, LogProb, MultiscaleRIDE, density
from tests.cases import assert_close
from tests.image_models import MODELS, SMALL, make, textured


@pytest.mark.parametrize("name", ["color", "multiscale"])
def test_two_stages_are_a_change_of_variables(name: str) -> None:
    """Log p is that of the planes plus the log-determinant of the transformation, found from its Jacobian."""
    model = make(name)
    assert isinstance(model, (ColorRIDE, MultiscaleRIDE))
    images = textured(2, model.channels, 10, 14)
    first, second = model.split(images)
    assert_close([model.join(first, second)], [images])
    site = images[:1, :, : model.scale, : model.scale]
    jacobian = torch.autograd.functional.jacobian(lambda x: torch.cat(model.split(x), 1).flatten(), site)
    log_det = torch.linalg.slogdet(jacobian.flatten(1)).logabsdet
    density = model.first.log_density(first) + model.second.log_density(second, first) + log_det
    nats, pixels = model.log_prob(images)
    assert pixels == density[0].numel() * model.scale**2
    assert_close([nats], [density.flatten(1).sum(1)])


def test_chroma_reads_the_full_window_of_luma() -> None:
    model = make("color")
    assert isinstance(model, ColorRIDE)
    luma, chroma = textured(1, 1, 9, 10), textured(1, 2, 9, 10)
    luma.requires_grad_()
    density = model.second.log_density(chroma, luma)
    (found,) = torch.autograd.grad(density[0, 0, 0], luma)
    assert found[0, 0].nonzero().tolist() == [[i, j] for i in range(3) for j in range(3)]


@pytest.mark.parametrize("name", MODELS)
def test_ensemble(name: str) -> None:
    """The eight score the same pixels, their log-likelihoods are averaged as likelihoods, and turning the image changes nothing."""
    model = make(name)
    images = textured(3, model.channels, 16, 16)
    border = model.border
    place = torch.arange(16 * 16).view(1, 1, 16, 16)
    scored = [view[0, 0, border:, border:-border].flatten() for view in Ensemble(model).views(place)]
    inner = place[0, 0, border:-border, border:-border].flatten().tolist()
    assert len(scored) == 8
    assert len({tuple(pixels.tolist()) for pixels in scored}) == 8
    assert all(sorted(pixels.tolist()) == inner for pixels in scored)
    nats, pixels = Ensemble(model).log_prob(images)
    assert pixels == len(inner)
    parts = torch.stack([model.log_prob(view).nats for view in Ensemble(model).views(images)])
    assert parts.std(0).min() > 0
    shift = parts.max(0).values
    assert_close([nats], [shift + (parts - shift).exp().mean(0).log()])
    assert_close([Ensemble(model).log_prob(images.flip(3).mT).nats], [nats])


def test_ensemble_of_images_that_are_not_square() -> None:
    model = make("ride")
    images = textured(2, 1, 9, 14)
    nats, pixels = Ensemble(model).log_prob(images)
    assert pixels == 5 * 10
    assert_close([Ensemble(model).log_prob(images.mT).nats], [nats])


def test_gradients_reach_every_parameter() -> None:
    for name in sorted({*MODELS} - {"linear"}):
        model = make(name)
        nats, _ = model(textured(2, model.channels, 12, 14))
        nats.sum().backward()
        for key, parameter in model.named_parameters():
            assert parameter.grad is not None, (name, key)
            assert parameter.grad.abs().max() > 0, (name, key)


def test_bits_per_pixel_weighs_images_equally_whatever_the_batches() -> None:
    model = make("ride")
    images = textured(5, 1, 9, 11)
    nats, pixels = model.log_prob(images)
    expected = (nats.sum() / (5 * pixels * math.log(2))).item()
    assert all(abs(model.bits_per_pixel(images, batch) - expected) < 1e-12 for batch in (1, 2, 16))
    assert_close([LogProb(nats, pixels).bits_per_pixel.mean()], [torch.tensor(expected, dtype=torch.float64)])


def test_a_likelihood_that_is_not_finite_is_an_error() -> None:
    """Not a score of NaN: it says of how many images, and what to do."""
    images = textured(3, 1, 24, 26, torch.float32)
    for cell, hint in (
        ("spatial", "not: cell='spatial' adds c up .* take cell='stable', smaller tiles or float64$"),
        ("stable", "not$"),
    ):
        model = RIDE(**{**SMALL, "dtype": torch.float32}, cell=cell)
        model.fit_whitening(images)
        model.mcgsm.eta.data.fill_(math.nan)
        for scored in (model, Ensemble(model)):
            with pytest.raises(ValueError, match=f"expected finite log-likelihoods, got 3 of 3 images whose is {hint}"):
                scored.bits_per_pixel(images, batch_size=2)
        assert model.log_prob(images).nats.isnan().all()
    images[1, 0, 5, 5] = math.nan
    with pytest.raises(ValueError, match="expected finite images, got 1 of 3 that are not"):
        RIDE(**{**SMALL, "dtype": torch.float32}).bits_per_pixel(images)


@pytest.mark.parametrize("name", ["color", "multiscale"])
def test_tiles_of_both_stages_are_scored_given_the_rest_of_the_image(name: str) -> None:
    model = make(name)
    assert isinstance(model, (ColorRIDE, MultiscaleRIDE))
    images = textured(2, model.channels, 16, 26)
    (nats, pixels), whole = model.log_prob_of_tiles(images, 16), model.log_prob(images[..., :16])
    assert_close([nats], [whole.nats])
    assert pixels == whole.pixels
    (nats, pixels), (u, v) = model.log_prob_of_tiles(images, 8), model.split(images)
    scale, sites = model.scale, 8 // model.scale
    density = model.first.log_density(u) + model.second.log_density(v, u)
    found = [
        density[:, i : i + sites - 1, j : j + sites - 2].flatten(1).sum(1)
        for i in (0, sites)
        for j in (0, sites, 2 * sites)
    ]
    assert_close([nats], [torch.stack(found, 1).flatten()])
    assert pixels == (sites - 1) * (sites - 2) * scale**2


def test_scores_do_not_depend_on_the_batch_or_the_layout() -> None:
    model = make("ride")
    images = textured(3, 1, 9, 11)
    alone = torch.cat([model.log_prob(image.unsqueeze(0)).nats for image in images])
    turned = images.mT.contiguous().mT
    assert_close([model.log_prob(images).nats, model.log_prob(turned).nats], [alone, alone])
    nats, pixels = model.log_prob(images[:0])
    assert (nats.shape, pixels) == ((0,), 49)


def test_scaling_the_data_moves_the_bits() -> None:
    """Data twice as wide cost one bit more; the whitening takes the rest out."""
    for channels in (1, 3):
        model, other = (LinearGaussian(channels, dtype=torch.float64) for _ in range(2))
        images = textured(6, channels, 20, 24)
        model.fit(images)
        other.fit(2 * images)
        assert abs(model.bits_per_pixel(images) - other.bits_per_pixel(2 * images) - channels) < 1e-9


@pytest.mark.parametrize("name", MODELS)
def test_config_rebuilds_the_model(name: str) -> None:
    model = make(name)
    again = type(model)(**model.config(), dtype=torch.float64)
    again.load_state_dict(model.state_dict())
    images = textured(2, model.channels, 10, 12)
    assert torch.equal(again.log_prob(images).nats, model.log_prob(images).nats)


@pytest.mark.parametrize("name", MODELS)
def test_images_on_another_scale_are_noticed(name: str) -> None:
    """Those of 0 to 255 where the model knows 0 to 1; neither dark ones nor bright ones, nor those it was fitted to."""
    model = MODELS[name]()
    images = textured(6, model.channels, 20, 24) / 8
    model.fit_whitening(images)
    model.log_prob(images)
    model.log_prob(images * 0 + images.amin())
    model.log_prob(images * 0 + images.amax())
    with pytest.warns(UserWarning, match="expected images on the scale of those that the model was fitted to"):
        model.log_prob(255 * images)
    model.fit_whitening(255 * images)
    model.log_prob(255 * images)


def test_the_scale_is_looked_at_where_there_are_values_alone() -> None:
    """Under vmap and in a traced program there are none."""
    model = make("linear")
    images = 255 * textured(2, 1, 9, 11)
    found = torch.func.vmap(lambda image: model.log_prob(image.unsqueeze(0)).nats)(images)
    with pytest.warns(UserWarning, match="expected images on the scale"):
        expected = model.log_prob(images).nats
    assert_close([found.squeeze(1)], [expected])
    traced = torch.compile(lambda x: model.log_prob(x).nats, backend="eager", fullgraph=True)(images)
    assert_close([traced], [expected])
    assert model.log_prob(images[:0]).nats.shape == (0,)


def test_errors() -> None:
    model = RIDE(**SMALL)
    images = textured(2, 1, 9, 11)
    for batch_size, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError)):
        with pytest.raises(error, match="expected batch_size to be"):
            model.bits_per_pixel(images, batch_size=batch_size)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"expected images of the model's torch\.float64 on cpu, got torch\.float32 on cpu"
    ):
        model.log_prob(images.float())
    with pytest.raises(ValueError, match="expected images of at least 3 x 5 pixels, got 2 x 11"):
        model.log_prob(images[:, :, :2])
    with pytest.raises(ValueError, match=r"expected images of shape \(N, 1, H, W\), got \(2, 3, 9, 11\)"):
        model.log_prob(images.repeat(1, 3, 1, 1))
    with pytest.raises(ValueError, match="expected at least one image, got none"):
        model.bits_per_pixel(images[:0])
    with pytest.raises(ValueError, match="expected more than 13 rows"):
        model.fit_whitening(images[:1, :, :3, :6])
    with pytest.raises(ValueError, match="that vary, got constants"):
        model.fit_whitening(torch.ones_like(images))
    with pytest.raises(ValueError, match="expected images with H and W divisible by 2, got"):
        MultiscaleRIDE(**SMALL).log_prob(images)
    with pytest.raises(ValueError, match=r"expected images of shape \(N, 3, H, W\)"):
        ColorRIDE(**SMALL).log_prob(images)
    with pytest.raises(ValueError, match="expected images of more than 4 pixels a side"):
        Ensemble(model).log_prob(images[:, :, :4])
    with pytest.raises(ValueError, match="expected a side divisible by 2, got 7"):
        MultiscaleRIDE(**SMALL).log_prob_of_tiles(images[..., :8, :8], 7)
    with pytest.raises(ValueError, match="cell='spatial' alone"):
        RIDE(cell="stable", extended=True)


@torch.no_grad()
@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize("name", MODELS)
def test_large_images_are_scored_in_bands(name: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if they were scored whole, what is given below a band and the states from above it among what is read."""
    model = make(name)
    images = textured(2, model.channels, 20, 24)
    whole = model.log_prob(images).nats
    monkeypatch.setattr(density, "AT_ONCE", rows * 2 * images.shape[3] // getattr(model, "scale", 1))
    assert_close([model.log_prob(images).nats], [whole])
