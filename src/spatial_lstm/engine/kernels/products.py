"""The large products over all sites, before and after the loop over wavefronts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spatial_lstm.engine.problem import Problem, state_dtype


def wide_peephole(problem: Problem) -> Tensor | None:
    """The peepholes as ``(D, 1, 2n + 1, h)``, to broadcast over rows."""
    peephole = problem.weight_peephole
    return None if peephole is None else peephole.unsqueeze(1).to(state_dtype(problem.x.dtype))


def project_input(problem: Problem) -> Tensor:
    """``weight_ih @ x + bias`` at every packed row, ``(D, M, B h)``: one matrix product over all sites."""
    d, m = problem.plan.site.shape
    x = problem.x.index_select(0, problem.plan.site.reshape(-1)).reshape(d, m, -1)
    if problem.bias is None:
        return x @ problem.weight_ih.mT
    return torch.baddbmm(problem.bias.unsqueeze(1), x, problem.weight_ih.mT)


def recompute_gates(problem: Problem, h: Tensor, c: Tensor) -> Tensor:
    """The activated gates ``(D, M, B h)`` from the tables of h and c: with every predecessor known, no loop is needed."""
    plan, n, hidden = problem.plan, problem.axes, problem.hidden
    shape = (plan.directions, plan.sites, n * hidden)
    pred = plan.pred.reshape(-1)
    z = project_input(problem)
    z.baddbmm_(h.index_select(1, pred).view(shape), problem.weight_hh.mT)
    c_prev = c.index_select(1, pred)
    if problem.weight_ch is not None:
        z.baddbmm_(c_prev.view(shape).to(z.dtype), problem.weight_ch.mT)
    work = z.unflatten(-1, (problem.blocks, hidden)).to(c.dtype)
    problem.cell.forward(work, c_prev.view(*shape[:2], n, hidden), wide_peephole(problem), inplace=True)
    gates: Tensor = work.flatten(-2).to(z.dtype)
    return gates


def gradients(problem: Problem, h: Tensor, c: Tensor, dz: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]:
    """Of x at every site and of the weights, in the order of :class:`spatial_lstm.engine.problem.Tensors`: one large product each."""
    plan = problem.plan
    shape = (plan.directions, plan.sites, -1)
    grads: list[Tensor | None] = [None] * len(wanted)
    if wanted[0]:
        grads[0] = dz @ problem.weight_ih
    if wanted[1]:
        grads[1] = _outer(dz, problem.x.index_select(0, plan.site.reshape(-1)).view(shape))
    if wanted[2]:
        grads[2] = _outer(dz, h.index_select(1, plan.pred.reshape(-1)).view(shape))
    if wanted[3]:
        grads[3] = dz.sum(1)
    if wanted[4] or wanted[5]:
        c_prev = c.index_select(1, plan.pred.reshape(-1)).view(shape)
        if wanted[4]:
            grads[4] = _peephole_gradient(problem, c_prev, c, dz)
        if wanted[5]:
            grads[5] = _outer(dz, c_prev.to(dz.dtype))
    return grads


def _peephole_gradient(problem: Problem, c_prev: Tensor, c: Tensor, dz: Tensor) -> Tensor:
    """``(D, 2n + 1, h)``: i of every axis, f_0 .. f_{n-1}, o."""
    n, hidden, sites = problem.axes, problem.hidden, problem.plan.sites
    dz = dz.unflatten(-1, (-1, hidden)).to(c.dtype)
    c_prev = c_prev.unflatten(-1, (n, hidden))
    to_i = (dz[:, :, :1] * c_prev).sum(1)
    to_f = (dz[:, :, 1 : n + 1] * c_prev).sum(1)
    to_o = (dz[:, :, -1] * c[:, :sites]).sum(1, keepdim=True)
    return torch.cat([to_i, to_f, to_o], dim=1).to(problem.x.dtype)


def _outer(dz: Tensor, y: Tensor) -> Tensor:
    """``dz^T y``, summed over all sites; this way round BLAS is four times as fast where y has few columns."""
    return (y.mT @ dz).mT.contiguous()
