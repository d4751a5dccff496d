"""The wavefront loop in plain torch operations: any device, any floating dtype."""

from __future__ import annotations

import torch
from torch import Tensor

from spatial_lstm.engine.kernels.base import FOLDED, GATES, gates_dtype
from spatial_lstm.engine.kernels.folded import fold, is_folded, unfold
from spatial_lstm.engine.kernels.products import project_input, wide_peephole
from spatial_lstm.engine.kernels.tables import TableKernel
from spatial_lstm.engine.problem import Problem


class PlainKernel(TableKernel):
    """Per step one gather, one matrix product on the concatenated predecessors and the gate arithmetic, for all directions at once."""

    name = "plain"

    def unavailable(self) -> str | None:
        return None

    def unsuited(self, problem: Problem) -> str | None:
        return None

    def forward_tables(self, problem: Problem, keep: str) -> tuple[Tensor, Tensor, Tensor | None]:
        plan, tensors, n, hidden = problem.plan, problem.tensors, problem.axes, problem.hidden
        h = problem.new_table(problem.dtype, tensors.h0)
        c = problem.new_table(problem.carried, tensors.c0)
        z_all = project_input(problem)  # (D, M, B h), overwritten by the activated gates
        folded = z_all.new_empty(z_all.shape, dtype=gates_dtype(keep, z_all.dtype)) if keep == FOLDED else None
        w_hh, w_ch = tensors.weight_hh.mT, None if tensors.weight_ch is None else tensors.weight_ch.mT
        peephole = wide_peephole(problem)
        for step, flat in enumerate(plan.pred_blocks):
            a, b = plan.offsets[step], plan.offsets[step + 1]
            c_prev = c.index_select(1, flat)  # (D, rows n, h)
            z = z_all[:, a:b].baddbmm_(h.index_select(1, flat).view(-1, b - a, n * hidden), w_hh)
            if w_ch is not None:
                z.baddbmm_(c_prev.view(-1, b - a, n * hidden).to(z.dtype), w_ch)
            z = z.unflatten(-1, (problem.blocks, hidden))
            work = z.to(c.dtype)  # z itself unless it has 16 bits
            c_prev = c_prev.view(-1, b - a, n, hidden)
            h[:, a:b], c[:, a:b] = problem.cell.forward(work, c_prev, peephole, inplace=True)
            if folded is not None:
                folded[:, a:b] = fold(work.flatten(-2))
            elif keep == GATES and work is not z:
                z.copy_(work)
        return h, c, z_all if keep == GATES else folded

    def backward_tables(
        self, problem: Problem, h: Tensor, c: Tensor, gates: Tensor, dh: Tensor, dc: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        plan, n, hidden = problem.plan, problem.axes, problem.hidden
        dz = torch.empty_like(gates, dtype=problem.dtype)
        if dc is None:
            dc = dh.new_zeros((), dtype=c.dtype).expand_as(dh)
        dh0 = dh.new_empty((problem.directions, plan.edges, hidden))
        dc0 = c.new_empty(dh0.shape)
        peephole = wide_peephole(problem)
        after: tuple[Tensor, Tensor] | None = None  # what the step after sends to its predecessors
        for step in reversed(range(plan.steps)):
            a, b = plan.offsets[step], plan.offsets[step + 1]
            dh_s, dc_s = dh[:, a:b].to(c.dtype), dc[:, a:b]
            if after is not None:
                shape, flat = (-1, b - a, n, hidden), plan.succ_local[step]
                dh_s = dh_s + after[0].index_select(1, flat).view(shape).sum(2)
                dc_s = dc_s + after[1].index_select(1, flat).view(shape).sum(2)
            after = self._step_backward(problem, (h, c, gates, dz), step, dh_s, dc_s, peephole)
            entries = slice(plan.edge_offsets[step], plan.edge_offsets[step + 1])
            dh0[:, entries] = after[0].index_select(1, plan.edge_local[step])
            dc0[:, entries] = after[1].index_select(1, plan.edge_local[step])
        return dz, dh0, dc0

    @staticmethod
    def _step_backward(
        problem: Problem,
        tables: tuple[Tensor, Tensor, Tensor, Tensor],
        step: int,
        dh_s: Tensor,
        dc_s: Tensor,
        peephole: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Fill one step of dz; return what flows to the predecessors, ``(D, 1 + rows n, h)`` each, the first row zero."""
        plan, tensors, n, hidden = problem.plan, problem.tensors, problem.axes, problem.hidden
        h, c, gates, dz = tables
        rows = slice(plan.offsets[step], plan.offsets[step + 1])
        count = plan.block_sizes[step]
        c_prev = c.index_select(1, plan.pred_blocks[step]).view(-1, count, n, hidden)
        act = unfold(gates[:, rows]) if is_folded(gates, problem.dtype) else gates[:, rows].to(c.dtype)
        act = act.unflatten(-1, (problem.blocks, hidden))
        dz_s = dz[:, rows]
        work = dz_s.unflatten(-1, (problem.blocks, hidden)) if dz.dtype == c.dtype else torch.empty_like(act)
        dc_prev = problem.cell.backward(dh_s, dc_s, act, c_prev, c[:, rows], h[:, rows].to(c.dtype), peephole, work)
        if dz.dtype != c.dtype:
            dz_s.copy_(work.flatten(-2))
        dh_out, dc_out = (t.new_zeros((problem.directions, 1 + count * n, hidden)) for t in (dz, c))
        dh_out[:, 1:] = (dz_s @ tensors.weight_hh).view(-1, count * n, hidden)
        dc_out[:, 1:] = dc_prev.reshape(-1, count * n, hidden)
        if tensors.weight_ch is not None:
            dc_out[:, 1:] += (dz_s @ tensors.weight_ch).view(-1, count * n, hidden)
        return dh_out, dc_out
