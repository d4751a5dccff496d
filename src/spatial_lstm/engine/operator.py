r"""The layer's recurrence as a pair of custom operators, forward and hand-derived backward, one call per layer over all its directions.

The operators see only shapes that follow from their inputs' shapes, build the plan inside, and so compile and export with dynamic sizes.
Backward runs the wavefronts in reverse for the gradient dz of the gate pre-activations, then every parameter's gradient is one large
product over all sites, e.g. dW_hh = sum over sites dz h_prev^T. Second derivatives go through :mod:`spatial_lstm.engine.composite`.

Common shapes: ``x (N, *S, C)``, ``weight_ih (D, B h, C)``, ``weight_hh (D, B h, n h)``, ``bias (D, B h)``,
``weight_peephole (D, 2n + 1, h)``, ``weight_ch (D, B h, n h)``, flattened faces ``(D, F, h)``
(see :mod:`spatial_lstm.engine.geometry.packing`), output ``(N, *S, D h)``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spatial_lstm.engine.autocast import no_autocast
from spatial_lstm.engine.geometry import face_positions
from spatial_lstm.engine.kernels import GATES, NOTHING, Incoming, Saved, choose_kernel
from spatial_lstm.engine.problem import Tensors, make_problem, plan_for, state_dtype
from spatial_lstm.engine.second_order import differentiate_backward

TENSORS = len(Tensors._fields)  # what gradients are returned for


@torch.library.custom_op("spatial_lstm::forward", mutates_args=())
def forward(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None,
    weight_peephole: Tensor | None,
    weight_ch: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    sizes: Tensor | None,
    directions: str,
    cell: str,
    kernel: str,
    sites: int,
    edges: int,
    keep: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the output, the far faces of h and c, and for the backward, as far as ``keep`` says, the table of c and the activated gates.

    ``sites`` and ``edges`` are the rows to hold for existing sites and near-face entries: their exact numbers, or the numbers without
    padding where a program is traced and ``sizes`` have no values yet.
    """
    plan = plan_for(x, sizes, directions)
    tensors = Tensors(*_contiguous(x, weight_ih, weight_hh, bias, weight_peephole, weight_ch, h0, c0))
    with no_autocast(x.device.type):
        problem = make_problem(plan, cell, tensors)
        output, far_h, far_c, c, gates = choose_kernel(kernel, problem).forward(problem, keep)
    output = output.reshape(*x.shape[:-1], -1)
    return output, far_h, far_c, _with_rows(c, sites + edges), _with_rows(gates, sites)


@forward.register_fake
def _(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None,
    weight_peephole: Tensor | None,
    weight_ch: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    sizes: Tensor | None,
    directions: str,
    cell: str,
    kernel: str,
    sites: int,
    edges: int,
    keep: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    d, n = weight_hh.shape[0], x.ndim - 2
    hidden, slots = weight_hh.shape[2] // n, face_positions(x.shape[0], x.shape[1:-1])[-1]
    carried = state_dtype(x.dtype)
    return (
        x.new_empty((*x.shape[:-1], d * hidden)),
        x.new_empty((d, slots, hidden)),
        x.new_empty((d, slots, hidden), dtype=carried),
        x.new_empty((0,) if keep == NOTHING else (d, sites + edges, hidden), dtype=carried),
        x.new_empty((d, sites, weight_hh.shape[1]) if keep == GATES else (0,)),
    )


@torch.library.custom_op("spatial_lstm::backward", mutates_args=())
def backward(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None,
    weight_peephole: Tensor | None,
    weight_ch: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    sizes: Tensor | None,
    directions: str,
    cell: str,
    kernel: str,
    grad_output: Tensor | None,
    grad_far_h: Tensor | None,
    grad_far_c: Tensor | None,
    output: Tensor,
    c_table: Tensor,
    gates: Tensor,
    wanted: list[bool],
) -> list[Tensor]:
    """Return the gradients of the first eight tensors, of no elements where not ``wanted``."""
    plan = plan_for(x, sizes, directions)
    tensors = Tensors(*_contiguous(x, weight_ih, weight_hh, bias, weight_peephole, weight_ch, h0, c0))
    with no_autocast(x.device.type):
        problem = make_problem(plan, cell, tensors)
        saved = Saved(
            output.reshape(plan.raster_rows, plan.directions, problem.hidden),
            c_table[:, : plan.table_rows].contiguous(),
            gates[:, : plan.sites].contiguous() if gates.numel() else None,
        )
        rows = None if grad_output is None else grad_output.reshape(saved.output.shape)
        incoming = Incoming(*_contiguous(rows, grad_far_h, grad_far_c))
        dx, *others = choose_kernel(kernel, problem).gradients(problem, saved, incoming, wanted)
        found = [None if dx is None else dx.reshape(x.shape), *others]
        return [x.new_empty(0) if gradient is None else gradient for gradient in found]


@backward.register_fake
def _(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None,
    weight_peephole: Tensor | None,
    weight_ch: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    sizes: Tensor | None,
    directions: str,
    cell: str,
    kernel: str,
    grad_output: Tensor | None,
    grad_far_h: Tensor | None,
    grad_far_c: Tensor | None,
    output: Tensor,
    c_table: Tensor,
    gates: Tensor,
    wanted: list[bool],
) -> list[Tensor]:
    tensors = (x, weight_ih, weight_hh, bias, weight_peephole, weight_ch, h0, c0)
    return [
        x.new_empty((0,)) if t is None or not want else t.new_empty(t.shape)
        for t, want in zip(tensors, wanted, strict=True)
    ]


def _contiguous(*tensors: Tensor | None) -> list[Any]:
    return [None if t is None else t.contiguous() for t in tensors]


def _with_rows(table: Tensor, rows: int) -> Tensor:
    """Pad dim 1 of ``table`` to ``rows``; a table of no elements, or of that many rows already, stays as it is."""
    if table.numel() == 0 or table.shape[1] == rows:
        return table
    return torch.nn.functional.pad(table, (0, 0, 0, rows - table.shape[1]))


def _save_forward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*output[3:])
    ctx.save_for_backward(*inputs[: TENSORS + 1], output[0], output[3], output[4])
    ctx.options = inputs[9:12]


def _forward_backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    saved = ctx.saved_tensors
    inputs, (output, c_table, gates) = saved[: TENSORS + 1], saved[TENSORS + 1 :]
    wanted = [bool(needed) for needed in ctx.needs_input_grad[:TENSORS]]
    if all(grad is None for grad in grads[:3]):
        return (None,) * (TENSORS + 7)
    results = backward(*inputs, *ctx.options, *grads[:3], output, c_table, gates, wanted)
    return *(g if want else None for g, want in zip(results, wanted, strict=True)), *([None] * 7)


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[: TENSORS + 1], *inputs[12:15])
    ctx.options = inputs[9:12]


def _backward_backward(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    saved = ctx.saved_tensors
    inputs, sizes, incoming = saved[:TENSORS], saved[TENSORS], saved[TENSORS + 1 :]
    directions, cell, _ = ctx.options
    to_inputs, to_incoming = differentiate_backward(inputs, sizes, directions, cell, incoming, grads)
    return *to_inputs, None, None, None, None, *to_incoming, None, None, None, None


forward.register_autograd(_forward_backward, setup_context=_save_forward)
backward.register_autograd(_backward_backward, setup_context=_save_backward)
