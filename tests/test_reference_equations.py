"""The reference's equations: against figures worked out by hand, the words that tell them, and ``nn.LSTM``."""

from __future__ import annotations

from math import exp, tanh
from typing import Any

import numpy as np
import pytest
import torch

from spatial_lstm import reference
from tests.reference_cases import EXACT, arguments

# Figures worked out by hand: one site with two predecessors, one channel, one feature.

X, H, C = 0.5, (0.3, -0.4), (0.8, -1.2)
W = {"i": 0.4, "f0": -0.7, "f1": 0.2, "g": 0.9, "o": -0.3}
U0 = {"i": 0.1, "f0": 0.6, "f1": -0.5, "g": 0.3, "o": 0.8}
U1 = {"i": -0.2, "f0": 0.5, "f1": 0.7, "g": -0.6, "o": 0.4}
B = {"i": 0.05, "f0": 0.15, "f1": -0.25, "g": 0.35, "o": 0.45}
Z = {b: W[b] * 0.5 + U0[b] * 0.3 + U1[b] * -0.4 + B[b] for b in W}
V = {"i": (0.2, -0.1), "f0": (0.3, 0.6), "f1": (-0.4, 0.1), "g": (0.5, -0.2), "o": (-0.6, 0.7)}
P = (0.2, -0.3, 0.5, 0.7, -0.9)  # i of axis 0, i of axis 1, f_0, f_1, o


def s(z: float) -> float:
    return 1 / (1 + exp(-z))


def one_site(cell: str, **optional: Any) -> tuple[float, float]:
    """The reference's c and h of the site above."""
    h_faces, c_faces = ([np.full((1, 1, 1), value) for value in pair] for pair in (H, C))
    result = reference.forward(
        np.full((1, 1, 1, 1), X),
        np.array([[W[b]] for b in W]),
        np.array([[U0[b], U1[b]] for b in W]),
        np.array([B[b] for b in W]),
        cell=cell,
        state=(h_faces, c_faces),
        **optional,
    )
    return result.c.item(), result.h.item()


def test_spatial_site_by_hand() -> None:
    c = s(Z["i"]) * tanh(Z["g"]) + s(Z["f0"]) * 0.8 + s(Z["f1"]) * -1.2
    assert one_site("spatial") == pytest.approx((c, tanh(s(Z["o"]) * c)), abs=EXACT)


def test_extended_site_by_hand() -> None:
    z = {b: Z[b] + V[b][0] * 0.8 + V[b][1] * -1.2 for b in Z}
    c = s(z["i"]) * tanh(z["g"]) + s(z["f0"]) * 0.8 + s(z["f1"]) * -1.2
    got = one_site("spatial", weight_ch=np.array([V[b] for b in V]))
    assert got == pytest.approx((c, tanh(s(z["o"]) * c)), abs=EXACT)


def test_graves_site_by_hand() -> None:
    c = s(Z["i"]) * tanh(Z["g"]) + s(Z["f0"]) * 0.8 + s(Z["f1"]) * -1.2
    assert one_site("graves") == pytest.approx((c, s(Z["o"]) * tanh(c)), abs=EXACT)


def test_peephole_site_by_hand() -> None:
    i = s(Z["i"] + 0.2 * 0.8 - 0.3 * -1.2)
    c = i * tanh(Z["g"]) + s(Z["f0"] + 0.5 * 0.8) * 0.8 + s(Z["f1"] + 0.7 * -1.2) * -1.2
    h = s(Z["o"] - 0.9 * c) * tanh(c)
    assert one_site("graves", weight_peephole=np.array(P)[:, None]) == pytest.approx((c, h), abs=EXACT)


def test_stable_site_by_hand() -> None:
    i, f, l, g, o = (Z[b] for b in ("i", "f0", "f1", "g", "o"))  # noqa: E741 - the contract's letter
    c = s(i) * tanh(g) + s(f) * (s(l) * 0.8 + (1 - s(l)) * -1.2)
    assert one_site("stable") == pytest.approx((c, s(o) * tanh(c)), abs=EXACT)


def test_stable_weights_of_three_axes_are_a_softmax() -> None:
    given = arguments("stable", "fff", (1, 1, 1), hidden=1, batch=1)
    result = reference.forward(**given)
    l0, l1 = (float(result.z[0, block].item()) for block in (2, 3))
    total = exp(l0) + exp(l1) + 1
    assert result.gates[0, 2:4].ravel() == pytest.approx((exp(l0) / total, exp(l1) / total), abs=EXACT)


# The words.


@pytest.mark.parametrize("cell", reference.CELLS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_equations_in_words_are_the_arithmetic(cell: str, n: int) -> None:
    """Every equation of ``Cell.equations``, evaluated, is what the cell computes, weights to c aside."""
    rng = np.random.default_rng(n)
    entry = reference.CELLS[cell]
    c_k, dh, dc = rng.normal(size=(n, 1)), rng.normal(size=1), np.zeros(1)
    site = entry.forward(rng.normal(size=(3 + n, 1)), c_k, None)
    grad = entry.backward(dh, dc, site, c_k, None)
    blocks = entry.gates(n)
    known = {f"c_{k}": c_k[k, 0] for k in range(n)} | dict(zip(blocks.values(), site.gates[:, 0], strict=True))
    known |= {"c": site.c[0], "h": site.h[0], "dh": dh[0], "dc": grad.c[0]}
    expected = {f"d{block}": dz for block, dz in zip(blocks, grad.z[:, 0], strict=True)}
    expected |= {"c": site.c[0], "h": site.h[0], "dc": grad.c[0]} | {f"dc_{k}": grad.c_k[k, 0] for k in range(n)}
    words = entry.equations(n).forward | entry.equations(n).backward
    assert set(words) == set(expected)
    for name, formula in words.items():
        plain = formula
        for activation in sorted(blocks.values(), key=len, reverse=True):
            plain = plain.replace(activation, f"known[{activation!r}]")
        value = eval(plain, {"tanh": tanh, "known": known, **{k: v for k, v in known.items() if "(" not in k}})
        assert value == pytest.approx(expected[name], abs=EXACT), (name, formula)


# One axis is the LSTM that everybody knows.


@pytest.mark.parametrize("cell", ["graves", "stable"])
@pytest.mark.parametrize("direction", ["f", "r"])
def test_one_axis_is_the_lstm_of_pytorch(cell: str, direction: str) -> None:
    given = arguments(cell, direction, (5,))
    lstm: Any = torch.nn.LSTM(3, 2, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh"):
            getattr(lstm, f"{name}_l0").copy_(torch.from_numpy(given[name]))
        lstm.bias_ih_l0.copy_(torch.from_numpy(given["bias"]))
        lstm.bias_hh_l0.zero_()
    sequence = torch.from_numpy(given["x"]).mT.clone().requires_grad_()
    turned = sequence.flip(1) if direction == "r" else sequence
    h_0, c_0 = (torch.from_numpy(part[0])[None] for part in given["state"])
    output, (h_n, c_n) = lstm(turned, (h_0, c_0))
    output = output.flip(1) if direction == "r" else output
    (output * output).sum().backward()
    result = reference.forward(**given)
    gradients = reference.backward(result, 2 * result.h)
    assert sequence.grad is not None
    pairs: list[tuple[Any, Any]] = [
        (result.h, output.mT),
        (result.state.h[0], h_n[0]),
        (result.state.c[0], c_n[0]),
        (gradients.x, sequence.grad.mT),
        (gradients.weight_ih, lstm.weight_ih_l0.grad),
        (gradients.weight_hh, lstm.weight_hh_l0.grad),
        (gradients.bias, lstm.bias_ih_l0.grad),
    ]
    for got, expected in pairs:
        np.testing.assert_allclose(got, expected.detach().numpy(), rtol=EXACT, atol=EXACT)
