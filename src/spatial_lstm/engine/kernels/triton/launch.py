"""Launching the kernels: loops over the plan's Python integers, nothing that waits for the GPU."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from spatial_lstm.engine.kernels.base import FOLDED, GATES, gates_dtype
from spatial_lstm.engine.kernels.products import project_input
from spatial_lstm.engine.kernels.triton.choice import Choice, Tile, holds_weights
from spatial_lstm.engine.kernels.triton.device import launched
from spatial_lstm.engine.kernels.triton.launcher import Launcher
from spatial_lstm.engine.kernels.triton.rows import ROWS
from spatial_lstm.engine.problem import Problem


def forward(problem: Problem, choice: Choice, keep: str) -> tuple[Tensor, Tensor, Tensor | None]:
    """As :meth:`spatial_lstm.engine.kernels.base.Kernel.forward`."""
    plan = problem.plan
    h = problem.new_table(problem.dtype, problem.tensors.h0)
    c = problem.new_table(problem.carried, problem.tensors.c0)
    z = project_input(problem, ROWS)  # (D, M, B h), overwritten by the activated gates where they are saved as they are
    folded = torch.empty_like(z, dtype=gates_dtype(keep, z.dtype)) if keep == FOLDED else None
    weights = (problem.tensors.weight_hh, problem.tensors.weight_ch, problem.tensors.weight_peephole)
    options = {**_equations(problem), "SAVE": keep == GATES, **_tiling(choice, choice.forward)}
    if choice.variant == "images":
        launch = Launcher(
            launched.forward_images,
            (z, folded, h, c, plan.pred, plan.image_bounds, *weights),
            {**_images(problem, choice, choice.forward), **options},
        )
        launch(_images_grid(problem, choice), plan.sites, plan.table_rows, plan.images, plan.steps)
    else:
        _forward_steps(problem, choice, (z, folded, h, c), weights, options)
    return h, c, z if keep == GATES else folded


def _forward_steps(
    problem: Problem,
    choice: Choice,
    tables: tuple[Tensor, Tensor | None, Tensor, Tensor],
    weights: tuple[Tensor | None, ...],
    options: dict[str, Any],
) -> None:
    """One launch per step, with the variant ``"gates"`` after a library's products."""
    plan, (z, _, h, c) = problem.plan, tables
    product = choice.variant == "step"
    ahead, succ = (None, None) if product else (_ahead(problem, h), plan.succ)
    launch = Launcher(
        launched.forward_step, (*tables, ahead, plan.pred, succ, *weights), {**options, "PRODUCT": product}
    )
    blocks, before = ([] if table is None else table.split(plan.block_sizes, 1) for table in (z, ahead))
    for step, rows in enumerate(plan.block_sizes):
        if not product:
            _add_products(problem, blocks[step], before[step], c, plan.pred_blocks[step])
        grid = _grid(problem, choice.forward, rows)
        launch(grid, plan.sites, plan.table_rows, plan.offsets[step], plan.offsets[step + 1])


def backward(
    problem: Problem, choice: Choice, h: Tensor, c: Tensor, gates: Tensor, dh: Tensor, dc: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """As :meth:`spatial_lstm.engine.kernels.base.Kernel.gradients`; the gradient of a near face that was not given is zero."""
    plan = problem.plan
    dz, total = torch.empty_like(gates, dtype=problem.dtype), torch.empty_like(dh, dtype=c.dtype)
    dc0 = c.new_zeros((problem.directions, plan.edges, problem.hidden))
    weights = (problem.tensors.weight_hh, problem.tensors.weight_ch, problem.tensors.weight_peephole)
    tables = (gates, h, c, dh, dc, total, dc0)
    faces = problem.tensors.c0 is not None
    options = {**_equations(problem), "FACES": faces, **_tiling(choice, choice.backward)}
    if choice.variant == "images":
        launch = Launcher(
            launched.backward_images,
            (dz, *tables, plan.pred, plan.succ, plan.image_bounds, *weights),
            {**_images(problem, choice, choice.backward), **options},
        )
        launch(_images_grid(problem, choice), plan.sites, plan.table_rows, plan.images, plan.steps)
    else:
        _backward_steps(problem, choice, dz, tables, weights, options)
    dh0 = dh.new_zeros(dc0.shape)
    if problem.tensors.h0 is not None:
        dh0 = _to_faces(problem, dz, problem.tensors.weight_hh)
    if faces and problem.tensors.weight_ch is not None:
        dc0 += _to_faces(problem, dz, problem.tensors.weight_ch)
    return dz, dh0, dc0


def _backward_steps(
    problem: Problem,
    choice: Choice,
    dz: Tensor,
    tables: tuple[Tensor | None, ...],
    weights: tuple[Tensor | None, ...],
    options: dict[str, Any],
) -> None:
    """One launch per step, last to first; with the variant ``"gates"`` the products that the step before reads follow."""
    plan = problem.plan
    product = choice.variant == "step"
    back, back_ch = (
        None
        if product or weight is None
        else dz.new_empty(problem.directions * max(plan.block_sizes) * weight.shape[2])
        for weight in weights[:2]
    )
    launch = Launcher(
        launched.backward_step,
        (dz, *tables, back, back if back_ch is None else back_ch, plan.pred, plan.succ, *weights),
        {**options, "PRODUCT": product},
    )
    blocks = [] if product else dz.split(plan.block_sizes, 1)
    for step in reversed(range(plan.steps)):
        first, last = plan.offsets[step], plan.offsets[step + 1]
        rows = plan.block_sizes[step]
        after_rows = plan.block_sizes[step + 1] if step + 1 < plan.steps else 0
        launch(_grid(problem, choice.backward, rows), plan.sites, plan.table_rows, first, last, last, after_rows)
        if not product and step:
            _send_back(blocks[step], weights[0], back)
            _send_back(blocks[step], weights[1], back_ch)


def _ahead(problem: Problem, h: Tensor) -> Tensor:
    """``(D, M, n h)``: where a library's product finds the predecessors' h side by side, so far those that come from near faces."""
    plan = problem.plan
    ahead = h.new_empty((problem.directions, plan.sites * problem.axes, problem.hidden))
    ahead.index_copy_(1, plan.edge, h[:, plan.sites :])
    return ahead.view(problem.directions, plan.sites, -1)


def _add_products(problem: Problem, z: Tensor, before: Tensor, c: Tensor, flat: Tensor) -> None:
    """Add to one step's z ``(D, rows, B h)`` the products with its predecessors' states; their h are ``before`` ``(D, rows, n h)``."""
    z.baddbmm_(before, problem.tensors.weight_hh.mT)
    if problem.tensors.weight_ch is not None:
        z.baddbmm_(c.index_select(1, flat).view(before.shape).to(z.dtype), problem.tensors.weight_ch.mT)


def _send_back(dz: Tensor, weight: Tensor | None, back: Tensor | None) -> None:
    """Overwrite the beginning of ``back`` by what one step's dz ``(D, rows, B h)`` sends to its predecessors, ``(D, rows, n h)``."""
    if weight is not None and back is not None:
        shape = (*dz.shape[:2], weight.shape[2])
        torch.bmm(dz, weight, out=back[: math.prod(shape)].view(shape))


def _to_faces(problem: Problem, dz: Tensor, weight: Tensor) -> Tensor:
    """``(D, E, h)``: what reaches each near-face entry through a weight ``(D, B h, n h)``."""
    edge, n = problem.plan.edge, problem.axes
    shape = (problem.directions, len(edge), 1, problem.hidden)
    sent = (dz.index_select(1, edge // n) @ weight).unflatten(-1, (n, problem.hidden))
    reached: Tensor = sent.gather(2, (edge % n).view(1, -1, 1, 1).expand(shape)).squeeze(2)
    return reached


def _equations(problem: Problem) -> dict[str, Any]:
    return {"CELL": problem.cell.name, "N": problem.axes, "B": problem.blocks, "H": problem.hidden}


def _tiling(choice: Choice, tile: Tile) -> dict[str, Any]:
    return {
        "PRECISION": choice.precision,
        "BM": tile.rows,
        "BH": tile.features,
        "BK": tile.inner,
        **tile.options,
    }


def _images(problem: Problem, choice: Choice, tile: Tile) -> dict[str, Any]:
    held = holds_weights(tile, choice.precision, problem.axes, problem.blocks, problem.tensors.weight_hh.element_size())
    return {"GROUP": choice.group, "HELD": held}


def _grid(problem: Problem, tile: Tile, rows: int) -> tuple[int, int, int]:
    return -(-rows // tile.rows), -(-problem.hidden // tile.features), problem.directions


def _images_grid(problem: Problem, choice: Choice) -> tuple[int, int, int]:
    return -(-problem.plan.images // choice.group), 1, problem.directions
