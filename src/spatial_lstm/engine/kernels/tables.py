"""Kernels that compute on tables of sites: what is gathered for them before the loop over wavefronts, and what is left for after it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from typing import ClassVar

from torch import Tensor

from spatial_lstm.engine import modes
from spatial_lstm.engine.geometry import packing
from spatial_lstm.engine.geometry.rows import ROWS, Rows
from spatial_lstm.engine.kernels import products
from spatial_lstm.engine.kernels.base import NOTHING, Incoming, Kernel, Results, Saved
from spatial_lstm.engine.problem import Problem
from spatial_lstm.engine.tensors import Gradients


class TableKernel(Kernel):
    """A kernel on state tables ``(D, M + E, h)``, sites and then near faces, that leaves dz for large products over all sites.

    It is given what :meth:`~spatial_lstm.engine.problem.Problem.lean` returns.

    Attributes:
        rows: How it takes and sums the tables' rows.
    """

    rows: ClassVar[Rows] = ROWS

    @abstractmethod
    def forward_tables(self, problem: Problem, keep: str) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the tables of h and c and, as far as they are to be kept, the activated gates ``(D, M, B * h)``."""

    @abstractmethod
    def backward_tables(
        self, problem: Problem, h: Tensor, c: Tensor, gates: Tensor, dh: Tensor, dc: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return dz, the gradient of the gates' pre-activations, ``(D, M, B * h)``, and the near faces' ``dh0``, ``dc0`` ``(D, E, h)``.

        The gates are folded or in the problem's type. ``dh`` and ``dc`` ``(D, M, h)`` are what reaches the sites' states from outside
        the recurrence; ``dc`` is None where it is zero.
        """

    def forward(self, problem: Problem, keep: str) -> Results:
        lead, problem = problem.tensors.x.shape[:-1], problem.lean()
        plan = problem.plan
        h, c, gates = self.forward_tables(problem, keep)
        with modes.apart():
            return Results(
                packing.output(plan, h, self.rows).view(*lead, -1),
                packing.far_faces(plan, h),
                packing.far_faces(plan, c),
                None if keep == NOTHING else c,
                gates,
            )

    def gradients(self, problem: Problem, saved: Saved, incoming: Incoming, wanted: Collection[str]) -> Gradients:
        found = self._gradients(problem.lean(), saved, incoming, wanted)
        return problem.of_lean(found)

    def _gradients(self, problem: Problem, saved: Saved, incoming: Incoming, wanted: Collection[str]) -> Gradients:
        plan = problem.plan
        h = problem.new_table(problem.dtype, problem.tensors.h0)
        packing.sites_of_output(plan, saved.output.reshape(-1, problem.hidden), h, self.rows)
        dh, dc = self._of_sites(problem, incoming)
        gates = products.recompute_gates(problem, h, saved.c, self.rows) if saved.gates is None else saved.gates
        dz, dh0, dc0 = self.backward_tables(problem, h, saved.c, gates, dh, dc)
        return products.gradients(problem, h, saved.c, dz, wanted, self.rows)._replace(
            h0=packing.near_faces_backward(plan, dh0) if "h0" in wanted else None,
            c0=packing.near_faces_backward(plan, dc0) if "c0" in wanted else None,
        )

    def _of_sites(self, problem: Problem, incoming: Incoming) -> tuple[Tensor, Tensor | None]:
        """What reaches each site's h and c from outside the recurrence, ``(D, M, h)`` each; None for zeros."""
        plan, shape = problem.plan, (problem.directions, problem.plan.sites, problem.hidden)
        dh = (
            problem.tensors.x.new_zeros(shape)
            if incoming.output is None
            else packing.output_backward(plan, incoming.output, self.rows)
        )
        if incoming.far_h is not None:
            packing.far_faces_backward_(plan, dh, incoming.far_h)
        if incoming.far_c is None:
            return dh, None
        dc = dh.new_zeros(shape, dtype=problem.carried)
        packing.far_faces_backward_(plan, dc, incoming.far_c)
        return dh, dc
