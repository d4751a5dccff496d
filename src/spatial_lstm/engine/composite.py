"""The layer's recurrence in plain differentiable torch: any order of derivative, any transform.

Training cost must stay linear in the number of sites. Writing the steps into slices of one tensor, or slicing one tensor once per step,
would make autograd touch the whole tensor at every step; so inputs are split once, steps are kept in lists, and outputs joined once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spatial_lstm.engine.geometry import packing
from spatial_lstm.engine.kernels.products import project_input, wide_peephole
from spatial_lstm.engine.problem import Problem, make_problem
from spatial_lstm.engine.tensors import Tensors


def forward(tensors: Tensors, sizes: Tensor | None, directions: str, cell: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output and the far faces of h and c; arguments and shapes as in :mod:`spatial_lstm.engine.operator`."""
    problem = make_problem(tensors, sizes, directions, cell).lean()
    plan = problem.plan
    h, c = _tables(problem)
    output = packing.output(plan, h).unflatten(0, tensors.x.shape[:-1])
    return output, packing.far_faces(plan, h), packing.far_faces(plan, c)


def _tables(problem: Problem) -> tuple[Tensor, Tensor]:
    """Return the state tables of h and c."""
    plan, tensors, n, hidden = problem.plan, problem.tensors, problem.axes, problem.hidden
    peephole = wide_peephole(problem)
    w_hh, w_ch = tensors.weight_hh.mT, None if tensors.weight_ch is None else tensors.weight_ch.mT
    h0 = _face_blocks(problem, tensors.h0, problem.dtype)
    c0 = _face_blocks(problem, tensors.c0, problem.carried)
    hs: list[Tensor] = []
    cs: list[Tensor] = []
    for step, z in enumerate(project_input(problem).split(plan.block_sizes, dim=1)):
        rows = plan.block_sizes[step]
        h_prev = _gather(hs, h0[step], plan.pred_local[step]).reshape(problem.directions, rows, n * hidden)
        c_prev = _gather(cs, c0[step], plan.pred_local[step])
        z = z + h_prev @ w_hh
        if w_ch is not None:
            z = z + c_prev.reshape(problem.directions, rows, n * hidden).to(z.dtype) @ w_ch
        c_prev = c_prev.reshape(problem.directions, rows, n, hidden)
        h, c = problem.cell.forward(z.unflatten(-1, (problem.blocks, hidden)).to(c_prev.dtype), c_prev, peephole)
        hs.append(h.to(problem.dtype))
        cs.append(c)
    return torch.cat([*hs, *h0], dim=1), torch.cat([*cs, *c0], dim=1)


def _face_blocks(problem: Problem, faces: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The near-face rows that each step reads, ``(D, entries, h)``, of flattened ``faces``."""
    near = packing.near_faces(problem.plan, faces)
    if near is None:
        near = problem.tensors.x.new_zeros((problem.directions, problem.plan.edges, problem.hidden), dtype=dtype)
    blocks: tuple[Tensor, ...] = near.split(problem.plan.edge_sizes, dim=1)
    return blocks


def _gather(before: list[Tensor], faces: Tensor, rows: Tensor) -> Tensor:
    """Rows of ``[block before; faces]``."""
    pool = torch.cat([before[-1], faces], dim=1) if before else faces
    return pool.index_select(1, rows)
