"""Sampling and inpainting: the incremental pass is the parallel one, and what is drawn follows the model."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from spatial_lstm.image_models import RIDE, ColorRIDE, Ensemble, ImageDensity, LinearGaussian, MultiscaleRIDE
from spatial_lstm.image_models.blocks import WINDOW, BlockSteps, Patch, blocks_apart, patches
from spatial_lstm.image_models.scan import Scan
from tests.cases import assert_close, faces
from tests.image_models import DENSITIES, MODELS, SMALL, make, make_density, textured

# These models have random parameters: what they draw without limits may lie far from the data that their whitening was fitted to.
far_samples = pytest.mark.filterwarnings("ignore:expected images on the scale:UserWarning")


@far_samples
@pytest.mark.parametrize("name", DENSITIES)
def test_likelihood_of_a_sample_is_what_its_steps_add_up_to(name: str) -> None:
    """And the clipped values are scored as they are."""
    model = make_density(name)
    images = textured(3, model.channels, 12, 15)
    generator = torch.Generator().manual_seed(2)
    for limits in (None, model.limits()):
        found, density = Scan(model, images).run_and_score(generator=generator, limits=limits)
        assert_close([density], [model.log_density(found)])
        nats, pixels = model.log_prob(found)
        assert pixels == density[0].numel()
        assert ((density.flatten(1).sum(1) - nats).abs() < 1e-9).all()
        border = model.border
        assert torch.equal(found[:, :, :border], images[:, :, :border])
        assert torch.equal(found[..., :border], images[..., :border])
        assert torch.equal(found[..., -border:], images[..., -border:])
        assert not torch.isclose(model.neighborhood.targets(found), model.neighborhood.targets(images)).any()


@far_samples
def test_scan_of_conditioned_planes() -> None:
    model = make("color")
    assert isinstance(model, ColorRIDE)
    luma, chroma = textured(2, 1, 9, 12), textured(2, 2, 9, 12)
    found, density = Scan(model.second, chroma, luma).run_and_score(generator=torch.Generator().manual_seed(1))
    assert_close([density], [model.second.log_density(found, luma)])


def test_drawing_without_scoring_is_the_same() -> None:
    model = make_density("ride")
    images, mask = textured(3, 1, 12, 15), hole(12, 15)
    for where in (None, mask, torch.zeros_like(mask)):
        with_scores, _ = Scan(model, images).run_and_score(where, generator=torch.Generator().manual_seed(1))
        assert torch.equal(Scan(model, images).run(where, generator=torch.Generator().manual_seed(1)), with_scores)


@pytest.mark.parametrize("size", [3, 5, 9])
def test_every_site_comes_once_and_after_all_it_reads(size: int) -> None:
    model = LinearGaussian(neighborhood=size, dtype=torch.float64)
    r = size // 2
    scan = Scan(model, torch.zeros(1, 1, 6 + r, 11 + 2 * r, dtype=torch.float64))
    when = {site: step for step, (i, j) in enumerate(scan.steps()) for site in zip(i.tolist(), j.tolist(), strict=True)}
    assert sorted(when) == [(i, j) for i in range(6) for j in range(11)]
    assert len(scan) == 11 + (r + 1) * 5 == max(when.values()) + 1
    for (i, j), step in when.items():
        before = [(a, b) for a in range(i - r, i + 1) for b in range(j - r, j + r + 1) if (a, b) < (i, j)]
        assert all(when[site] < step for site in before if site in when)


def test_a_known_field_is_sampled_with_its_covariances() -> None:
    """A field with x_ij = a x_(i-1)j + b x_i(j-1) - a b x_(i-1)(j-1) + s e_ij has covariance s^2 a^|k| b^|l| / ((1 - a^2) (1 - b^2))."""
    a, b, s = 0.7, 0.5, 0.8
    model = LinearGaussian(neighborhood=3, dtype=torch.float64)
    weights = torch.tensor([[-a * b, a, 0.0, b]], dtype=torch.float64)  # above left, above, above right, left
    mean = torch.full((1,), 2.0, dtype=torch.float64)
    state = {
        "predictor": weights,
        "mean_out": mean,
        "mean_in": mean.expand(4),
        "whiten_out": torch.eye(1, dtype=torch.float64) / s,
        "color_out": torch.eye(1, dtype=torch.float64) * s,
        "log_det": torch.tensor(-math.log(s), dtype=torch.float64),
    }
    model.whitening.load_state_dict(state, strict=False)
    images = model.sample(
        48, 40, 300, generator=torch.Generator().manual_seed(4), margin=32, limits=(-math.inf, math.inf)
    )
    assert abs(images.mean().item() - 2) < 0.03
    centered = images - 2
    variance = s * s / ((1 - a * a) * (1 - b * b))
    for down, right in [(0, 0), (1, 0), (0, 1), (1, 1), (2, 3)]:
        pairs = centered[:, :, down:, right:] * centered[:, :, : 48 - down, : 40 - right]
        per_image = pairs.flatten(1).mean(1)
        error = per_image.std() / math.sqrt(len(per_image))
        assert abs(per_image.mean() - variance * a**down * b**right) < 5 * error, (down, right)


@pytest.mark.parametrize("name", MODELS)
def test_samples(name: str) -> None:
    model = make(name)
    seen: list[tuple[int, int]] = []
    first = model.sample(6, 10, 3, generator=torch.Generator().manual_seed(7), progress=lambda *step: seen.append(step))
    second = model.sample(6, 10, 3, generator=torch.Generator().manual_seed(7))
    assert first.shape == (3, model.channels, 6, 10)
    assert first.isfinite().all()
    assert torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert [done for done, _ in seen] == list(range(1, seen[-1][1] + 1))
    assert Ensemble(model).sample(6, 10, 3).shape == first.shape


def test_sample_keeps_the_limits() -> None:
    model = make_density("mcgsm")
    images = model.sample(12, 12, 4, limits=(2.5, 3.0))
    assert images.min() == 2.5
    assert images.max() == 3.0
    low, high = model.limits()
    images = model.sample(12, 12, 4)
    assert images.min() >= low
    assert images.max() <= high


def test_marginal_and_limits_are_the_data_s() -> None:
    model = LinearGaussian(2, dtype=torch.float64)
    images = textured(40, 2, 60, 60).exp()
    model.fit_whitening(images)
    low, high = model.limits()
    values = images.transpose(0, 1).flatten(1)
    assert ((values < low.unsqueeze(1)).double().mean(1) - 0.001).abs().max() < 2e-4
    assert ((values > high.unsqueeze(1)).double().mean(1) - 0.002).abs().max() < 2e-4
    noise = model.noise(40, 60, 60, torch.Generator().manual_seed(0)).transpose(0, 1).flatten(1)
    levels = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)
    for k in range(2):
        at = values[k].quantile(levels)
        share = (noise[k].unsqueeze(1) <= at).double().mean(0)
        assert (share - levels).abs().max() < 0.01


def hole(height: int, width: int) -> Tensor:
    mask = torch.zeros(1, 1, height, width, dtype=torch.bool)
    mask[..., height - 7 : height - 1, 6:11] = True
    return mask


@pytest.mark.parametrize("name", [*DENSITIES, "color"])
def test_inpainting_fills_holes_and_nothing_else(name: str) -> None:
    model = make(name)
    assert isinstance(model, (ImageDensity, ColorRIDE))
    images = textured(2, model.channels, 24, 26)
    mask = hole(24, 26)
    damaged = images.masked_fill(mask, math.nan)
    seen: list[tuple[int, int]] = []

    def fill(seed: int) -> Tensor:
        seen.clear()
        generator = torch.Generator().manual_seed(seed)
        return model.inpaint(
            damaged, mask, candidates=2, gibbs_sweeps=1, generator=generator, progress=lambda *step: seen.append(step)
        )

    runs = [fill(seed) for seed in (0, 0, 1)]
    assert seen == [(done, len(seen)) for done in range(1, len(seen) + 1)]
    known = ~mask.expand_as(images)
    assert torch.equal(runs[0][known], images[known])
    assert runs[0].isfinite().all()
    assert torch.equal(runs[0], runs[1])
    assert not torch.isclose(runs[0][~known], runs[2][~known]).all()
    assert damaged.isnan().any()


@pytest.mark.parametrize("sweeps", [0, 1])
@pytest.mark.parametrize("name", [*DENSITIES, "color"])
def test_no_images_have_no_holes(name: str, sweeps: int) -> None:
    model = make(name)
    assert isinstance(model, (ImageDensity, ColorRIDE))
    images = textured(2, model.channels, 24, 26)[:0]
    assert model.inpaint(images, hole(24, 26), gibbs_sweeps=sweeps).shape == images.shape


def test_inpainting_of_a_hole_of_its_own_in_each_image() -> None:
    model = make_density("ride")
    images, masks = textured(2, 1, 14, 16), torch.zeros(2, 1, 14, 16, dtype=torch.bool)
    masks[0, 0, 3, 4] = masks[1, 0, 13, 13] = True
    filled = model.inpaint(images, masks, candidates=2, gibbs_sweeps=2)
    assert torch.equal(filled != images, masks)


def test_blocks_proposed_at_once_cover_the_hole_and_do_not_meet() -> None:
    model = make_density("ride")
    mask = torch.ones(1, 1, 47, 63, dtype=torch.bool)
    for offset in ([0, 0], [3, 1]):
        covered = torch.zeros(47, 63, dtype=torch.int64)
        for phase in product(range(blocks_apart(model)), repeat=2):
            found = list(patches(model, mask, offset, phase))
            for patch in found:
                covered[patch.block] += 1
                assert all(window.stop - window.start == WINDOW for window in patch.window)
                for other in found:
                    apart = [
                        w.stop <= b.start or b.stop <= w.start for w, b in zip(patch.window, other.block, strict=True)
                    ]
                    assert other is patch or any(apart)
        assert (covered == 1).all()


BLOCK_AT = slice(11, 16), slice(15, 20)


def window(image: int, top: int, left: int, height: int, width: int) -> Patch:
    return Patch(image, (slice(top, top + height), slice(left, left + width)), BLOCK_AT)


def block_steps(name: str) -> tuple[ImageDensity, Tensor, Tensor | None, BlockSteps]:
    """A model, chroma's given luma for "color", two images of 24x29 pixels, their condition, and steps on these images."""
    model = make(name)
    density = model.second if isinstance(model, ColorRIDE) else model
    assert isinstance(density, ImageDensity)
    images = textured(2, density.channels, 24, 29)
    condition = textured(2, 1, 24, 29) if isinstance(model, ColorRIDE) else None
    mask = torch.ones(2, 1, 24, 29, dtype=torch.bool)
    steps = BlockSteps(density, images, mask, condition, limits=density.limits((-math.inf, math.inf)))
    return density, images, condition, steps


# Rows and columns, at least twice the largest border before the block's columns.
CORNERS = [(0, 0), (5, 0), (0, 8), (4, 9)]


@far_samples
@pytest.mark.parametrize("name", [*DENSITIES, "color"])
def test_a_window_is_scored_and_drawn_as_in_its_image(name: str) -> None:
    """With the states that enter it, and the rows of the condition below it."""
    model, images, condition, steps = block_steps(name)
    whole = model.log_density(images, condition)
    for top, left in CORNERS:
        found = steps.windows([window(image, top, left, 19, 20) for image in (0, 1)])
        inside = whole[:, top : top + 19 - model.border, left : left + 20 - 2 * model.border]
        assert_close([model.log_density(found.images, found.condition, found.state)], [inside])
        drawn, density = Scan(model, found.images, found.condition, found.state).run_and_score(found.drawn)
        assert not torch.equal(drawn, found.images)
        assert_close([density], [model.log_density(drawn, found.condition, found.state)])


@pytest.mark.parametrize("name", [*DENSITIES, "color"])
def test_a_window_to_the_last_row_and_column_decides_as_the_whole_image_does(name: str) -> None:
    """Wherever it begins: the ratio of the rule of Metropolis & Hastings is that of the whole images."""
    model, images, condition, steps = block_steps(name)
    new = images.clone()
    new[(..., *BLOCK_AT)] += torch.randn_like(new[(..., *BLOCK_AT)])
    gained = model.log_density(new, condition) - model.log_density(images, condition)
    rows, columns = (slice(span.start - model.border, span.stop - model.border) for span in BLOCK_AT)
    expected = gained.flatten(1).sum(1) - gained[:, rows, columns].flatten(1).sum(1)
    for top, left in CORNERS:
        found = [window(image, top, left, 24 - top, 29 - left) for image in (0, 1)]
        ratio = steps.log_ratio(steps.windows(found), torch.stack([patch.of(new) for patch in found]))
        assert_close([ratio], [expected])


@far_samples
@pytest.mark.parametrize("name", ["ride", "ride-2-layers-2-channels-nb7", "color"])
def test_an_accepted_block_changes_the_states_of_its_window(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that they are those of the images as they are then."""
    _, images, _, steps = block_steps(name)
    before = images.clone()
    inner = [window(image, 13, 17, 10, 9) for image in (0, 1)]
    old = steps.windows(inner).state
    monkeypatch.setattr(steps, "log_ratio", lambda *_: torch.tensor([math.inf, -math.inf]))
    steps.propose([window(image, 4, 7, 19, 19) for image in (0, 1)])
    changed = (images != before)[0, 0].nonzero()
    assert (changed.amin(0).tolist(), changed.amax(0).tolist()) == ([11, 15], [15, 19])
    assert torch.equal(images[1], before[1])
    kept = steps.windows(inner).state
    steps.refresh()
    expected = steps.windows(inner).state
    assert old is not None
    assert kept is not None
    assert expected is not None
    assert_close(faces(kept), faces(expected))
    assert not any(torch.equal(a[:, 0], b[:, 0]) for a, b in zip(faces(old), faces(kept), strict=True))


def test_metropolis_steps_sample_the_conditional() -> None:
    """In a Gaussian field, one missing pixel given all others is Gaussian with known mean and variance."""
    a, b, s = 0.7, 0.6, 0.5
    noise = s * torch.randn(80, 1, 40, 42, dtype=torch.float64)
    for i in range(1, 40):
        noise[:, :, i] += a * noise[:, :, i - 1]
    for j in range(1, 42):
        noise[..., j] += b * noise[..., j - 1]
    linear = LinearGaussian(neighborhood=3, dtype=torch.float64)
    linear.fit(noise[..., 20:, 20:])
    images = noise[:1, :, 18:33, 18:33]
    mask = torch.zeros(1, 1, 15, 15, dtype=torch.bool)
    mask[..., 7, 7] = True
    grid = torch.linspace(-6, 6, 241, dtype=torch.float64)
    candidates = images.repeat(len(grid), 1, 1, 1)
    candidates[:, 0, 7, 7] = grid
    weights = linear.log_prob(candidates).nats.softmax(0)
    mean = weights @ grid
    deviation = (weights @ (grid - mean).square()).sqrt()
    filled = linear.inpaint(
        images.repeat(600, 1, 1, 1), mask, candidates=1, gibbs_sweeps=15, limits=(-math.inf, math.inf)
    )[:, 0, 7, 7]
    assert abs(filled.mean() - mean) < 5 * deviation / math.sqrt(600)
    assert abs(filled.std() / deviation - 1) < 5 / math.sqrt(2 * 600)


def test_more_candidates_are_likelier() -> None:
    model = make_density("ride")
    images, mask = textured(4, 1, 16, 18), hole(16, 18)
    few, many = (
        model.log_prob(
            model.inpaint(images, mask, candidates=k, gibbs_sweeps=0, generator=torch.Generator().manual_seed(0))
        ).nats.sum()
        for k in (1, 12)
    )
    assert many > few


def test_errors() -> None:
    model = RIDE(**SMALL)
    images = textured(2, 1, 14, 16)
    mask = torch.zeros(2, 1, 14, 16, dtype=torch.bool)
    with pytest.raises(TypeError, match=r"expected mask to be a bool Tensor, got torch\.float64"):
        model.inpaint(images, images)
    with pytest.raises(
        ValueError, match=r"expected mask of shape \(2, 1, 14, 16\) or \(1, 1, 14, 16\), got \(2, 1, 14, 15\)"
    ):
        model.inpaint(images, mask[..., 1:])
    with pytest.raises(ValueError, match="expected holes off the first 2 rows and the first and last 2 columns"):
        model.inpaint(images, ~mask)
    with pytest.raises(TypeError, match=r"expected mask to be a bool Tensor, got list"):
        ColorRIDE(**SMALL).inpaint(images.repeat(1, 3, 1, 1), [True])
    with pytest.raises(ValueError, match="expected candidates to be positive, got 0"):
        model.inpaint(images, mask, candidates=0)
    with pytest.raises(ValueError, match="expected gibbs_sweeps of at least 0, got -1"):
        model.inpaint(images, mask, gibbs_sweeps=-1)
    with pytest.raises(ValueError, match="expected height to be positive, got 0"):
        model.sample(0, 4)
    with pytest.raises(ValueError, match="expected a margin of at least 2, got 1"):
        model.sample(4, 4, margin=1)
    with pytest.raises(ValueError, match=r"expected limits \(low, high\) with low < high, got \(1, 0\)"):
        model.sample(4, 4, limits=(1, 0))
    with pytest.raises(ValueError, match="expected height and width to be divisible by 2, got 3 and 4"):
        MultiscaleRIDE(**SMALL).sample(3, 4)
