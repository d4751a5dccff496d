"""Each cell's hand-derived backward against autograd, alone."""

from __future__ import annotations

import pytest
import torch

from spatial_lstm import reference
from spatial_lstm.engine.cells import CELLS, get_cell
from tests.cases import VARIANTS, assert_close


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("variant", VARIANTS)
def test_backward_is_the_gradient_of_forward(variant: str, n: int) -> None:
    cell = CELLS[VARIANTS[variant]["cell"]]
    z = torch.randn(5, cell.blocks(n), 4, dtype=torch.float64)
    c_prev = torch.randn(5, n, 4, dtype=torch.float64)
    peephole = torch.randn(2 * n + 1, 4, dtype=torch.float64) if VARIANTS[variant].get("peephole") else None
    dh, dc = torch.randn(2, 5, 4, dtype=torch.float64)
    leaves = [z.requires_grad_(), c_prev.requires_grad_()]
    h, c = cell.forward(z, c_prev, peephole)
    expected = torch.autograd.grad((h * dh + c * dc).sum(), leaves)
    with torch.no_grad():
        gates = z.clone()
        again = cell.forward(gates, c_prev, peephole, inplace=True)
        dz = torch.full_like(z, torch.nan)
        dc_prev = cell.backward(dh, dc, gates, c_prev, c, h, peephole, dz)
    assert_close([*again, dz, dc_prev], [h, c, *expected])


def test_blocks_and_names_agree() -> None:
    for cell in CELLS.values():
        for n in (1, 2, 3):
            names = cell.gate_names(n)
            assert len(names) == cell.blocks(n) == (4 if cell.name == "diagonal" else 3 + n)
            assert tuple(reference.CELLS[cell.name].gates(n)) == names
            assert [names[block][0] for block in cell.forget_blocks(n)] == ["f"] * len(cell.forget_blocks(n))
    assert get_cell("diagonal").gate_names(3) == ("i", "f", "g", "o")
    assert get_cell("stable").gate_names(3) == ("i", "f", "l_0", "l_1", "g", "o")
    assert get_cell("graves").gate_names(2) == ("i", "f_0", "f_1", "g", "o")


def test_unknown_cell() -> None:
    with pytest.raises(ValueError, match="expected cell to be one of .* got 'gru'"):
        get_cell("gru")
