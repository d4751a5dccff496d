"""RIDE and its baselines as densities: exact, causal, normalized, and as good as the best where the best is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from spatial_lstm import SpatialLSTMCell
from spatial_lstm.image_models import RIDE, ImageModel, LinearGaussian, MCGSMImage, data
from tests.cases import assert_close
from tests.image_models import DENSITIES, MODELS, SMALL, make, make_density, textured


@pytest.mark.parametrize("name", ["ride", "ride-2-extended", "ride-diagonal-nb3", "ride-2-layers-2-channels-nb7"])
def test_log_prob_is_the_sum_over_sites_computed_one_by_one(name: str) -> None:
    model = make(name)
    assert isinstance(model, RIDE)
    images = textured(2, model.channels, 9, 11)
    nats, pixels = model.log_prob(images)
    r = model.neighborhood.radius
    layers = model.lstm.num_layers
    cells = [model.lstm.cell(layer, "ff") for layer in range(layers)]
    states: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = {}
    total, count = torch.zeros(2, dtype=torch.float64), 0
    for i in range(r, 9):
        for j in range(r, 11 - r):
            before = [(a, b) for a in range(i - r, i + 1) for b in range(j - r, j + r + 1) if (a, b) < (i, j)]
            inputs = torch.stack([images[:, c, a, b] for c in range(model.channels) for a, b in before], 1)
            white, residual, log_det = model.whitening(inputs, images[:, :, i, j])
            hidden = step(cells, states, white, i, j)
            total = total + model.mcgsm.log_prob(hidden, residual) + log_det
            count += 1
    assert pixels == count
    assert_close([nats], [total])


def step(
    cells: list[SpatialLSTMCell], states: dict[tuple[int, int, int], tuple[Tensor, Tensor]], x: Tensor, i: int, j: int
) -> Tensor:
    """The top hidden state at one site."""
    for layer, cell in enumerate(cells):
        states[layer, i, j] = cell(x, (states.get((layer, i - 1, j)), states.get((layer, i, j - 1))))
        x = states[layer, i, j][0]
    return x


@pytest.mark.parametrize("name", DENSITIES)
def test_no_density_depends_on_later_pixels(name: str) -> None:
    """Changing one pixel changes no density before it in raster order, and its own."""
    model = make_density(name)
    images = textured(1, model.channels, 10, 13)
    before = model.log_density(images)
    r = model.border
    for row, column in [(5, 6), (r, r), (9, 12), (4, 12 - r)]:
        changed = images.clone()
        changed[:, :, row, column] += 1.7
        differs = (model.log_density(changed) != before)[0]
        at = (row - r) * before.shape[2] + column - r
        if r <= column < 13 - r:
            assert not differs.flatten()[:at].any()
            assert differs.flatten()[at]
        else:
            assert not differs[: row - r].any()


@pytest.mark.parametrize("name", [name for name in DENSITIES if MODELS[name]().channels == 1])
def test_density_integrates_to_one(name: str) -> None:
    """Over the last scored pixel, on which no other density depends."""
    model = make_density(name)
    images = textured(1, 1, 8, 9)
    grid = torch.linspace(-60, 60, 6001, dtype=torch.float64)
    last = images.shape[3] - 1 - model.border
    many = images.repeat(len(grid), 1, 1, 1)
    many[:, 0, -1, last] = grid
    log_p = torch.cat([model.log_prob(part).nats for part in many.split(1000)])
    rest = model.log_density(images)[0].flatten()[:-1].sum()
    assert abs(((log_p - rest).exp().sum() * (grid[1] - grid[0])).item() - 1) < 1e-6


@pytest.fixture(scope="module")
def field() -> tuple[Tensor, Tensor, float]:
    """A Gaussian random field, x_ij = a x_(i-1)j + b x_i(j-1) - a b x_(i-1)(j-1) + s e_ij, and its optimal rate in bits per pixel."""
    generator = torch.Generator().manual_seed(5)
    a, b, s = 0.8, 0.6, 0.7
    noise = s * torch.randn(90, 1, 90, 90, generator=generator)
    for i in range(1, 90):
        noise[:, :, i] += a * noise[:, :, i - 1]
    for j in range(1, 90):
        noise[..., j] += b * noise[..., j - 1]
    images = noise[..., 26:, 26:]
    return images[:30], images[30:], -0.5 * math.log2(2 * math.pi * math.e * s * s)


@pytest.mark.parametrize(
    "make_model",
    [
        pytest.param(LinearGaussian, id="linear"),
        pytest.param(lambda: MCGSMImage(1, 3, 2, 2, 4), id="mcgsm"),
        pytest.param(lambda: RIDE(neighborhood=3, hidden_size=4, components=2, scales=2, features=4), id="ride"),
    ],
)
def test_reaches_the_optimal_rate(make_model: Callable[[], ImageModel], field: tuple[Tensor, Tensor, float]) -> None:
    """Within 0.01 bit per pixel on held-out images; 200,000 pixels estimate the rate to 0.002."""
    train, test, rate = field
    model = make_model()
    model.fit_whitening(train)
    model.fit_mcgsm(train[:10], max_iterations=40)
    assert abs(model.bits_per_pixel(test) - rate) < 0.01


def test_features_are_what_the_density_reads() -> None:
    model = make_density("ride-2-extended")
    images = textured(2, 1, 9, 11)
    white, residual, hidden = model.features(images)
    assert white.shape == (2, 12, 7, 7)
    assert residual.shape == (2, 1, 7, 7)
    assert hidden.shape == (2, 6, 7, 7)
    density = model.mcgsm.log_prob(hidden.permute(0, 2, 3, 1), residual.permute(0, 2, 3, 1)) + model.whitening.log_det
    assert_close([model.log_density(images)], [density])


def test_tiles_are_scored_given_the_rest_of_the_image() -> None:
    """Their pixels are those that each scores by itself, and only in the corner of the image does that come to the same."""
    model = make_density("ride")
    images = textured(2, 1, 21, 35)
    density, alone = model.log_density(images), model.log_prob(data.tiles(images, 9))
    within = model.log_prob_of_tiles(images, 9)
    corners = [(i, j) for i in (0, 9) for j in (0, 9, 18)]
    expected = torch.stack([density[:, i : i + 7, j : j + 5].flatten(1).sum(1) for i, j in corners], 1)
    assert_close([within.nats], [expected.flatten()])
    assert within.pixels == alone.pixels == 35
    same = torch.isclose(within.nats, alone.nats).view(2, 6)
    assert torch.equal(same, torch.tensor([True] + [False] * 5).expand(2, 6))
    for side in (4, 22):
        with pytest.raises(ValueError, match=f"expected a side of 5 to 21, got {side}"):
            model.log_prob_of_tiles(images, side)


@pytest.mark.parametrize("name", ["mcgsm", "mcgsm-rgb", "linear"])
def test_tiles_without_a_recurrence_score_the_same_by_themselves(name: str) -> None:
    model = make_density(name)
    images = textured(2, model.channels, 21, 35)
    alone, within = model.log_prob(data.tiles(images, 9)), model.log_prob_of_tiles(images, 9)
    assert_close([within.nats], [alone.nats])
    assert within.pixels == alone.pixels


def test_the_default_cell_keeps_whole_photographs_finite() -> None:
    """Whatever training may have made of the weights; with the paper's, c overflows once gates are open."""
    images = textured(1, 1, 200, 300, torch.float32)
    for cell in (None, "diagonal", "spatial"):
        model = RIDE(hidden_size=8, components=4, scales=2, features=4, cell=cell)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, 0, 5)
        torch.nn.init.constant_(model.lstm.get_parameter("bias_l0"), 40)
        model.fit_whitening(images)
        c = model.lstm(model.whiten(images)[0])[1].c
        holds = cell != "spatial"
        assert all(face.isfinite().all() == holds for face in c)
        assert not holds or model.log_density(images).isfinite().all()


def test_the_cell_that_is_taken_where_none_is_named() -> None:
    assert RIDE(**SMALL).config()["cell"] == "stable"
    assert RIDE(extended=True, **SMALL).config()["cell"] == "spatial"


@pytest.mark.parametrize("cell", ["spatial", "graves", "stable", "diagonal"])
def test_an_added_layer_keeps_all_else_and_hands_on_what_it_reads(cell: str) -> None:
    model = RIDE(hidden_size=6, components=2, scales=2, features=2, cell=cell, dtype=torch.float64)
    grown = model.add_layer().add_layer()
    assert grown.lstm.num_layers == 3
    assert grown.config() == {**model.config(), "num_layers": 3}
    assert all(torch.equal(grown.state_dict()[name], value) for name, value in model.state_dict().items())
    white = torch.randn(2, 9, 11, 12, dtype=torch.float64)
    below, above = model.conditioning(white), model.add_layer().conditioning(white)
    assert torch.corrcoef(torch.stack([below.flatten(), above.flatten()]))[0, 1] > 0.95
    assert 0.8 < above.std() / below.std() < 1.25


def test_an_added_layer_leaves_parts_in_their_mode() -> None:
    model = RIDE(**SMALL)
    model.mcgsm.eval()
    grown = model.add_layer()
    assert (grown.training, grown.lstm.training, grown.mcgsm.training) == (True, True, False)
    with torch.device("meta"):
        assert not model.add_layer().quantiles.is_meta
    grown.lstm.weight_hh_l0.data.zero_()
    assert not torch.equal(model.lstm.weight_hh_l0, grown.lstm.weight_hh_l0)


def test_a_model_without_memory_scores_images_without_memory() -> None:
    for model in (RIDE(**SMALL, device="meta"), RIDE(**SMALL).to("meta")):
        images = torch.zeros(2, 1, 12, 14, dtype=model.quantiles.dtype, device="meta")
        assert model.log_prob(images).nats.is_meta


def test_fitting_the_mcgsm_leaves_the_rest_alone() -> None:
    model = make_density("ride")
    images = textured(8, 1, 20, 24)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    start = model.bits_per_pixel(images)
    loss = model.fit_mcgsm(images, max_iterations=20)
    assert model.bits_per_pixel(images) > start
    assert abs(-loss / math.log(2) - model.bits_per_pixel(images)) < 1e-9
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("mcgsm.") for name in changed)
