"""What the benchmarks time beside one another: each computes what it should, and is left out or refused where it does not."""

from __future__ import annotations

import pytest
import torch

from benchmarks import blas, fields, layer, opponents, peak, wavefronts
from benchmarks.blas import Product
from benchmarks.fields import Field, Size
from benchmarks.harness import WrongResultError, check, on_threads
from benchmarks.opponents import flops, lstm_flop_ratio, lstm_size
from spatial_lstm.engine.kernels import KERNELS
from tests.benchmark_cases import SIZE
from tests.cases import assert_close


@pytest.mark.parametrize("size", layer.SIZES, ids=lambda size: size.label)
def test_lstm_has_as_many_sites_and_flops(size: Size) -> None:
    steps, batch, _ = lstm_size(size)
    assert steps == sum(size.extents) - 1
    assert steps * batch == pytest.approx(size.sites, rel=0.05)
    assert lstm_flop_ratio(size) == pytest.approx(1, abs=0.05)
    assert flops(size) == 2 * size.sites * (size.channels + 2 * size.hidden) * 5 * size.hidden


def test_a_part_stands_for_the_whole() -> None:
    """States in the first corner depend on nothing else, so its gradients are those of the corner alone."""
    field = Field(Size(3, (40, 35), 2, 4), whole=False)
    assert field.part == Size(2, (32, 32), 2, 4)
    for one in fields.entries(field, training=True):
        assert check(one).error < 3e-5
    with pytest.raises(ValueError, match="all-forward"):
        Field(Size(1, (40, 40), 2, 4, "all"), whole=False)


def test_a_wrong_backend_is_refused() -> None:
    field = Field(SIZE)
    with torch.no_grad():
        field.weights["weight_hh_l0"][0, 0] += 1e-2
    wrong = fields.entry(field, "plain", training=True)
    field.weights["weight_hh_l0"][0, 0] -= 1e-2
    with pytest.raises(WrongResultError, match="plain"):
        check(wrong)


def test_a_floor_names_its_libraries() -> None:
    with on_threads(1):
        products = [
            Product(torch.randn(7, 5), torch.randn(5, 9)),
            Product(torch.randn(7, 5).t(), torch.randn(7, 9), False),
        ]
        for product in products:
            for way in blas.ways(product):
                assert_close([way.run()], [way.expected()])
            [best], rates = blas.fastest([product])
            assert best.library in rates.keys() == blas.libraries().keys()
            assert rates[best.library] == max(rates.values())
        found = opponents.floor(SIZE, training=True)
    assert check(found).notes["won"] == found.notes["won"]
    assert len(found.notes["won"]) == 3


def test_on_several_threads_a_floor_is_of_one_pool_of_threads() -> None:
    with on_threads(2):
        found, rates = blas.fastest([Product(torch.randn(40 * k, 50), torch.randn(50, 60)) for k in (1, 9)])
    numpys = {way.library not in ("MKL", "torch's BLAS", "oneDNN") for way in found}
    assert len(numpys) == 1
    assert rates.keys() == blas.libraries().keys()


def test_the_peak_is_measured_without_a_compiler_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with on_threads(1):
        looped = peak.peak(1e9)
        monkeypatch.setattr(peak, "_loop", lambda: None)
        multiplied = peak.peak(1e9)
    assert multiplied.name == peak.PRODUCT
    for one in (looped, multiplied):
        assert check(one).seconds[0] > 0


@pytest.mark.parametrize("directions", [None, "all"])
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_wavefronts_of_others_compute_the_same(
    name: str, directions: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    field = Field(Size(2, (3, 5), 3, 4, directions))
    if name == "jax":
        pytest.importorskip("jax")
        from benchmarks.jax_wavefront import jitted

        other = jitted(field, training=True)
    else:
        other = wavefronts.compiled(field, training=True)
    assert check(other).error < 3e-6


def test_kernels_that_do_not_suit_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(KERNELS["plain"]), "unsuited", lambda self, problem: "expected another device")
    assert "plain" not in fields.kernels(SIZE)
    monkeypatch.undo()
    assert "plain" in fields.kernels(SIZE)


def test_lstm_is_to_be_equal_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    right = opponents.lstm_on(7, 2, 4, 3, training=True)
    assert check(right).error < 3e-5
    expected = opponents.lstm_expected
    monkeypatch.setattr(opponents, "lstm_expected", lambda *given: [t * (1 + 1e-10) for t in expected(*given)])
    with pytest.raises(WrongResultError, match=r"nn\.LSTM in float64 to equal the composite"):
        check(opponents.lstm_on(7, 2, 4, 3, training=True))
