"""The MCGSM: a density, the one in the paper, and fitted."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from spatial_lstm.image_models import MCGSM
from spatial_lstm.image_models.mcgsm import log_sum_exp
from tests.cases import assert_close


def make(dim_out: int, dim_in: int = 3, dtype: torch.dtype = torch.float64) -> MCGSM:
    """One in which every term matters."""
    density = MCGSM(dim_in, dim_out, components=3, scales=2, features=4, dtype=dtype)
    for parameter in density.parameters():
        torch.nn.init.normal_(parameter, 0, 0.6)
    if density.cholesky is not None:
        rows, columns = torch.tril_indices(dim_out, dim_out)
        with torch.no_grad():
            density.cholesky.mul_(0.5).add_((rows == columns)[1:])
    return density


def formula(density: MCGSM, x: np.ndarray, y: np.ndarray) -> float:
    """The log-density of one y given one x, term by term."""
    p = {name: value.detach().numpy() for name, value in density.named_parameters()}
    m = len(y)
    above = below = 0.0
    for c in range(density.components):
        lower = np.zeros((m, m))
        lower[np.tril_indices(m)] = [1.0, *p["cholesky"][c]] if m > 1 else [1.0]
        q = sum(p["beta"][c, f] ** 2 * (p["features"][:, f] @ x) ** 2 for f in range(p["beta"].shape[1]))
        for s in range(density.scales):
            precision = np.exp(p["alpha"][c, s]) * lower @ lower.T
            error = y - p["predictors"][c] @ x
            gate = np.exp(p["eta"][c, s] - 0.5 * np.exp(p["alpha"][c, s]) * q)
            normal = np.sqrt(np.linalg.det(precision / (2 * np.pi))) * np.exp(-0.5 * error @ precision @ error)
            above, below = above + gate * normal, below + gate
    return float(np.log(above / below))


@pytest.mark.parametrize("dim_out", [1, 2, 3])
def test_equals_an_independent_formula(dim_out: int) -> None:
    density = make(dim_out)
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, dim_out, dtype=torch.float64)
    expected = [formula(density, a, b) for a, b in zip(x.numpy(), y.numpy(), strict=True)]
    assert_close([density.log_prob(x, y)], [torch.tensor(expected, dtype=torch.float64)])


@pytest.mark.parametrize("dim_out", [1, 2])
def test_integrates_to_one(dim_out: int) -> None:
    density = make(dim_out)
    grid = torch.linspace(-25, 25, 501, dtype=torch.float64)
    y = torch.cartesian_prod(*[grid] * dim_out).view(-1, dim_out)
    for x in torch.randn(2, 3, dtype=torch.float64):
        total = density.log_prob(x.expand(len(y), -1), y).exp().sum() * (grid[1] - grid[0]) ** dim_out
        assert abs(total.item() - 1) < 1e-6


@pytest.mark.parametrize("dim_out", [1, 2])
def test_samples_follow_the_density(dim_out: int) -> None:
    """The moments of samples are those of the mixture, and their mean log-density is minus its entropy found by integration."""
    density = make(dim_out)
    x = torch.randn(3, dtype=torch.float64)
    grid = torch.linspace(-20, 20, 801 if dim_out == 1 else 401, dtype=torch.float64)
    y = torch.cartesian_prod(*[grid] * dim_out).view(-1, dim_out)
    log_p = density.log_prob(x.expand(len(y), -1), y).detach()
    p = log_p.exp() * (grid[1] - grid[0]) ** dim_out
    drawn = density.sample(x.expand(200_000, -1), torch.Generator().manual_seed(1))
    found_log = density.log_prob(x.expand(len(drawn), -1), drawn).detach()

    def agree(values: Tensor, expected: Tensor) -> None:
        error = values.std(0) / math.sqrt(len(values))
        assert ((values.mean(0) - expected).abs() < 5 * error).all()

    agree(drawn, p @ y)
    agree(drawn[:, 0] * drawn[:, -1], p @ (y[:, 0] * y[:, -1]))
    agree(found_log, p @ log_p)


def test_sampling_is_determined_by_the_generator() -> None:
    density, x = make(2), torch.randn(4, 5, 3, dtype=torch.float64)
    first, second = (density.sample(x, torch.Generator().manual_seed(3)) for _ in range(2))
    assert first.shape == (4, 5, 2)
    assert torch.equal(first, second)


def test_leading_dimensions_are_kept() -> None:
    density = make(2)
    x, y = torch.randn(2, 4, 5, 3, dtype=torch.float64), torch.randn(2, 4, 5, 2, dtype=torch.float64)
    flat = density.log_prob(x.flatten(0, 2), y.flatten(0, 2))
    assert_close([density.log_prob(x, y).flatten()], [flat])


def test_the_log_of_a_sum_of_exp_is_torchs() -> None:
    parts = [torch.randn(6, 3, dtype=torch.float64).mul_(scale).requires_grad_() for scale in (1, 40, 900)]
    found, expected = log_sum_exp(parts), torch.cat(parts, 1).logsumexp(1)
    assert_close(found, expected)
    weight = torch.randn(6, dtype=torch.float64)
    for own, others in zip(
        torch.autograd.grad(found @ weight, parts), torch.autograd.grad(expected @ weight, parts), strict=True
    ):
        assert_close(own, others)
    assert torch.autograd.gradgradcheck(lambda *parts: log_sum_exp(parts), parts[:1])
    never = torch.full((2, 3), -math.inf)
    assert torch.equal(log_sum_exp([never, never]), torch.full((2,), -math.inf))
    assert torch.equal(log_sum_exp([never, torch.zeros(2, 3)]), torch.full((2,), 3.0).log())
    assert log_sum_exp([torch.tensor([[math.nan, 0.0]])]).isnan().all()


def test_gradients() -> None:
    density = make(2)
    x, y = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 2, dtype=torch.float64)
    names = [name for name, _ in density.named_parameters()]

    def log_prob(*values: Tensor) -> Tensor:
        return torch.func.functional_call(density, dict(zip(names, values, strict=True)), (x, y))

    assert torch.autograd.gradcheck(log_prob, tuple(density.parameters()))


@pytest.mark.parametrize(("dim_out", "usual_start"), [(1, True), (2, False)])
def test_fit_reaches_the_density_that_made_the_data(dim_out: int, usual_start: bool) -> None:
    """On data from an MCGSM, the fit from the usual start, or from near the truth, is on held-out rows as good as that, to 0.02 nats."""
    truth = make(dim_out, dtype=torch.float32)
    x, held_out = torch.randn(12_000, 3), torch.randn(12_000, 3)
    y, held_out_y = truth.sample(x), truth.sample(held_out)
    model = MCGSM(3, dim_out, components=3, scales=2, features=4)
    if not usual_start:
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), truth.parameters(), strict=True):
                parameter.copy_(value + 0.2 * torch.randn_like(value))
    seen: list[tuple[int, float, float | None]] = []
    loss = model.fit(x, y, 60, (held_out, held_out_y), lambda *found: seen.append(found))
    with torch.no_grad():
        best = -truth.log_prob(held_out, held_out_y).mean().item()
        found = -model.log_prob(held_out, held_out_y).mean().item()
    assert found < best + 0.02
    assert abs(loss - found) < 1e-5
    assert abs(loss - min(s[2] for s in seen if s[2] is not None)) < 1e-6
    assert all(p.grad is None for p in model.parameters())


def test_fit_in_chunks_is_the_fit_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    density = make(1)
    start = {name: value.clone() for name, value in density.state_dict().items()}
    x, y = torch.randn(200, 3, dtype=torch.float64), torch.randn(200, 1, dtype=torch.float64)
    whole = density.fit(x, y, 5)
    density.load_state_dict(start)
    monkeypatch.setattr("spatial_lstm.image_models.fitting.CHUNK", 64)
    assert abs(density.fit(x, y, 5) - whole) < 1e-9


def test_errors() -> None:
    density = make(2)
    x = torch.randn(4, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"expected inputs of shape \(\.\.\., 3\)"):
        density.log_prob(torch.randn(4, 2, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"expected outputs of shape \(4, 2\), got \(4, 1\)"):
        density.log_prob(x, torch.randn(4, 1, dtype=torch.float64))
    with pytest.raises(ValueError, match="at least one row"):
        density.fit(x[:0], torch.randn(0, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="expected scales to be positive"):
        MCGSM(3, 1, scales=0)
