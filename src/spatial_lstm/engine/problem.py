"""One layer's recurrence over all its directions, in the packed layout that every backend computes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from spatial_lstm.engine.cells import Cell, get_cell
from spatial_lstm.engine.geometry import Plan, make_plan, packing


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type in which c is carried: float32 for the 16-bit types, else the type itself."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


class Tensors(NamedTuple):
    """What one layer computes from, before packing.

    With D directions, B gate blocks and F rows of flattened faces (see :mod:`spatial_lstm.engine.geometry.packing`):

    Attributes:
        x: ``(N, *S, C)``.
        weight_ih: ``(D, B * h, C)``.
        weight_hh: ``(D, B * h, n * h)``.
        bias: ``(D, B * h)`` or None.
        weight_peephole: ``(D, 2n + 1, h)`` or None.
        weight_ch: ``(D, B * h, n * h)`` or None.
        h0: ``(D, F, h)``, near faces of the hidden state; None for zeros.
        c0: ``(D, F, h)``, near faces of the cell state; None for zeros.
    """

    x: Tensor
    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor | None
    weight_peephole: Tensor | None
    weight_ch: Tensor | None
    h0: Tensor | None
    c0: Tensor | None


@dataclass(frozen=True)
class Problem:
    """One layer over all its directions, ready to run: all tensors contiguous, of one dtype (c0 of :func:`state_dtype`) and device.

    With D directions, R raster rows, C input features, n axes, h features, B gate blocks and E near-face entries:

    Attributes:
        cell: The equations.
        plan: The order of the sites.
        x: ``(R, C)``, the input at every raster row.
        weight_ih: ``(D, B * h, C)``.
        weight_hh: ``(D, B * h, n * h)``.
        bias: ``(D, B * h)`` or None.
        weight_peephole: ``(D, 2n + 1, h)`` or None.
        weight_ch: ``(D, B * h, n * h)`` or None.
        h0: ``(D, E, h)``, hidden states on the near faces in the plan's order; None for zeros.
        c0: ``(D, E, h)``, cell states there; None for zeros.
    """

    cell: Cell
    plan: Plan
    x: Tensor
    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor | None
    weight_peephole: Tensor | None
    weight_ch: Tensor | None
    h0: Tensor | None
    c0: Tensor | None

    @property
    def directions(self) -> int:
        """D."""
        return self.weight_hh.shape[0]

    @property
    def axes(self) -> int:
        """N."""
        return self.plan.axes

    @property
    def blocks(self) -> int:
        """B."""
        return self.cell.blocks(self.axes)

    @property
    def hidden(self) -> int:
        """H."""
        return self.weight_hh.shape[2] // self.axes

    @property
    def weights(self) -> tuple[Tensor | None, ...]:
        """In the order of :class:`Tensors`."""
        return self.weight_ih, self.weight_hh, self.bias, self.weight_peephole, self.weight_ch

    def new_table(self, dtype: torch.dtype, faces: Tensor | None) -> Tensor:
        """An uninitialised state table ``(D, M + E, h)`` whose near-face rows are filled."""
        table = self.x.new_empty((self.directions, self.plan.table_rows, self.hidden), dtype=dtype)
        self.fill_faces(table, faces)
        return table

    def fill_faces(self, table: Tensor, faces: Tensor | None) -> None:
        """Write the near-face rows of a state table: ``faces`` ``(D, E, h)``, or zeros."""
        rows = table[:, self.plan.sites :]
        rows.zero_() if faces is None else rows.copy_(faces)


def plan_for(x: Tensor, sizes: Tensor | None, directions: str) -> Plan:
    """The plan of input ``(N, *S, C)``, each image of its own ``sizes`` where given."""
    own = None if sizes is None else sizes.tolist()
    return make_plan(x.shape[0], x.shape[1:-1], directions.split(","), own, x.device)


def make_problem(plan: Plan, cell: str, tensors: Tensors) -> Problem:
    """Bring one layer's tensors into the packed layout."""
    return Problem(
        cell=get_cell(cell),
        plan=plan,
        x=tensors.x.flatten(0, -2),
        weight_ih=tensors.weight_ih,
        weight_hh=tensors.weight_hh,
        bias=tensors.bias,
        weight_peephole=tensors.weight_peephole,
        weight_ch=tensors.weight_ch,
        h0=packing.near_faces(plan, tensors.h0),
        c0=packing.near_faces(plan, tensors.c0),
    )
