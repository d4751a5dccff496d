"""The large products over all sites, before and after the loop over wavefronts."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from spatial_lstm.engine.geometry import packing
from spatial_lstm.engine.geometry.rows import ROWS, Rows
from spatial_lstm.engine.problem import Problem
from spatial_lstm.engine.tensors import Gradients


def wide_peephole(problem: Problem) -> Tensor | None:
    """The peepholes as ``(D, 1, 2n + 1, h)``, to broadcast over rows."""
    peephole = problem.tensors.weight_peephole
    return None if peephole is None else peephole.unsqueeze(1).to(problem.carried)


def project_input(problem: Problem, rows_of: Rows = ROWS) -> Tensor:
    """``weight_ih @ x + bias`` at every packed row, ``(D, M, B h)``: one matrix product over all sites."""
    tensors = problem.tensors
    x = packing.input_of_sites(problem.plan, tensors.x, rows_of)
    if tensors.bias is None:
        return x @ tensors.weight_ih.mT
    return torch.baddbmm(tensors.bias.unsqueeze(1), x, tensors.weight_ih.mT)


def recompute_gates(problem: Problem, h: Tensor, c: Tensor, rows_of: Rows = ROWS) -> Tensor:
    """The activated gates ``(D, M, B h)`` from the tables of h and c: with every predecessor known, no loop is needed."""
    plan, n, hidden = problem.plan, problem.axes, problem.hidden
    shape = (plan.directions, plan.sites, n * hidden)
    pred = plan.pred.reshape(-1)
    z = project_input(problem, rows_of)
    z.baddbmm_(rows_of.take(h, pred).view(shape), problem.tensors.weight_hh.mT)
    c_prev = rows_of.take(c, pred)
    if problem.tensors.weight_ch is not None:
        z.baddbmm_(c_prev.view(shape).to(z.dtype), problem.tensors.weight_ch.mT)
    work = z.unflatten(-1, (problem.blocks, hidden)).to(c.dtype)
    problem.cell.forward(work, c_prev.view(*shape[:2], n, hidden), wide_peephole(problem), inplace=True)
    gates: Tensor = work.flatten(-2).to(z.dtype)
    return gates


def gradients(
    problem: Problem, h: Tensor, c: Tensor, dz: Tensor, wanted: Collection[str], rows_of: Rows = ROWS
) -> Gradients:
    """Those of x, ``(R, C)``, and of the weights, as far as ``wanted``: one large product each."""
    plan = problem.plan

    def predecessors(table: Tensor) -> Tensor:
        """``(D, M, n * h)``."""
        return rows_of.take(table, plan.pred.reshape(-1)).view(plan.directions, plan.sites, -1)

    found: dict[str, Tensor] = {}
    if "x" in wanted:
        found["x"] = packing.input_backward(plan, dz @ problem.tensors.weight_ih, rows_of)
    if "weight_ih" in wanted:
        found["weight_ih"] = _outer(dz, packing.input_of_sites(plan, problem.tensors.x, rows_of))
    if "weight_hh" in wanted:
        found["weight_hh"] = _outer(dz, predecessors(h))
    if "bias" in wanted:
        found["bias"] = rows_of.total(dz)
    if "weight_peephole" in wanted:
        found["weight_peephole"] = _peephole_gradient(problem, predecessors(c), c, dz)
    if "weight_ch" in wanted:
        found["weight_ch"] = _outer(dz, predecessors(c).to(dz.dtype))
    return Gradients(**found)


def _peephole_gradient(problem: Problem, c_prev: Tensor, c: Tensor, dz: Tensor) -> Tensor:
    """``(D, 2n + 1, h)``: i of every axis, f_0 .. f_{n-1}, o."""
    n, hidden, sites = problem.axes, problem.hidden, problem.plan.sites
    dz = dz.unflatten(-1, (-1, hidden)).to(c.dtype)
    c_prev = c_prev.unflatten(-1, (n, hidden))
    to_i = (dz[:, :, :1] * c_prev).sum(1)
    to_f = (dz[:, :, 1 : n + 1] * c_prev).sum(1)
    to_o = (dz[:, :, -1] * c[:, :sites]).sum(1, keepdim=True)
    return torch.cat([to_i, to_f, to_o], dim=1).to(problem.dtype)


def _outer(dz: Tensor, y: Tensor) -> Tensor:
    """``dz^T y``, summed over all sites; this way round BLAS is four times as fast where y has few columns."""
    return (y.mT @ dz).mT.contiguous()
