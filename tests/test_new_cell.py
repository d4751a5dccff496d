"""A new cell, added as CONTRIBUTING.md says, with a number of gates that no other cell has: it works wherever any cell runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spatial_lstm import SpatialLSTM, SpatialLSTMCell, functional, reference
from spatial_lstm.engine import CELLS, Cell, UnsuitedError
from spatial_lstm.reference.cells import Cell as ReferenceCell
from tests.cases import SIZES, assert_close, faces, gradients, make_input, make_state

GUIDE = Path(__file__).parents[1] / "CONTRIBUTING.md"


def guide(title: str) -> str:
    """The Python block under a heading of the guide."""
    found = re.search(rf"### {re.escape(title)}\n.*?```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found is not None, f"CONTRIBUTING.md has no block under {title!r}"
    return found.group(1)


def run(title: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(guide(title), f"CONTRIBUTING.md, {title}", "exec"), names)
    return names


@pytest.fixture
def leaky(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The guide's cell, in both tables."""
    in_numpy, in_torch = run("1. The reference")["CELL"], run("2. In torch")["LeakyCell"]()
    assert isinstance(in_numpy, ReferenceCell)
    assert isinstance(in_torch, Cell)
    monkeypatch.setitem(reference.CELLS, in_torch.name, in_numpy)
    monkeypatch.setitem(CELLS, in_torch.name, in_torch)
    yield in_torch.name
    assert in_torch.kernels == frozenset()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_reference_is_its_own_gradient(leaky: str, n: int) -> None:
    """By finite differences of the cell alone."""
    cell, rng = reference.CELLS[leaky], np.random.default_rng(0)
    z, c_k = rng.normal(size=(len(cell.gates(n)), 3)), rng.normal(size=(n, 3))
    dh, dc = rng.normal(size=(2, 3))
    site = cell.forward(z, c_k, None)
    found = cell.backward(dh, dc, site, c_k, None)
    step = 1e-6
    for array, gradient in ((z, found.z), (c_k, found.c_k)):
        for place in np.ndindex(array.shape):
            costs = []
            for sign in (1, -1):
                array[place] += sign * step
                moved = cell.forward(z, c_k, None)
                array[place] -= sign * step
                costs.append(float((moved.h * dh + moved.c * dc).sum()))
            assert (costs[0] - costs[1]) / (2 * step) == pytest.approx(gradient[place], abs=1e-7)


@pytest.mark.parametrize("backend", ["auto", "plain", "composite"])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_every_kernel_that_takes_any_cell_equals_the_reference(
    leaky: str, n: int, recompute: bool, backend: str
) -> None:
    options = {"cell": leaky, "spatial_dims": n, "directions": "all", "recompute": recompute}
    results = []
    for name in (backend, "reference"):
        torch.manual_seed(0)
        layer = SpatialLSTM(3, 4, 2, dtype=torch.float64, backend=name, **options)
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter, 0, 0.5)
        extents = {1: (5,), 2: (4, 3), 3: (3, 1, 2)}[n]
        x, near = make_input(layer, 2, extents), make_state(layer, 2, extents)
        output, far = layer(x, near, sizes=SIZES[n])
        outputs = [output, *faces(far)]
        results.append([*outputs, *gradients(outputs, [x, *faces(near), *layer.parameters()])])
    assert_close(results[0], results[1])


def test_the_rest_of_the_library_takes_it(leaky: str) -> None:
    layer = SpatialLSTM(3, 4, cell=leaky, dtype=torch.float64)
    x = make_input(layer, 2, (4, 3))
    blocks = len(reference.CELLS[leaky].gates(2))
    assert layer.weight_ih_l0.shape == (blocks * 4, 3)
    weights = layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_l0
    assert_close([functional.spatial_lstm(x, *weights, cell=leaky)[0]], [layer(x)[0]])
    h, _ = layer.cell()(x[:, :, 0, 0])
    assert_close([h], [layer(x)[0][:, :, 0, 0]])
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)
    assert torch.autograd.gradgradcheck(lambda x: layer(x[:1, :, :2, :2])[0], x)
    assert SpatialLSTMCell(3, 4, cell=leaky)(torch.zeros(3))[0].shape == (4,)
    with pytest.raises(ValueError, match="expected one axis and a cell that is an LSTM"):
        SpatialLSTM(3, 4, cell=leaky, spatial_dims=1).to_lstm()


@pytest.mark.usefixtures("cpp_kernel")
def test_a_kernel_that_does_not_know_it_refuses(leaky: str) -> None:
    layer = SpatialLSTM(3, 4, cell=leaky, backend="cpp")
    with pytest.raises(UnsuitedError, match="does not know the cell 'leaky'"):
        layer(torch.zeros(1, 3, 2, 2))
