r"""The layer's recurrence as a pair of custom operators, forward and hand-derived backward, one call per layer over all its directions.

The operators see only shapes that follow from their inputs' shapes, build the plan inside, and so compile and export with dynamic sizes.
Backward runs the wavefronts in reverse for the gradient dz of the gate pre-activations, then every parameter's gradient is one large
product over all sites, e.g. dW_hh = sum over sites dz h_prev^T. Second derivatives go through :mod:`spatial_lstm.engine.composite`.

:class:`~spatial_lstm.engine.tensors.Tensors` travel as a list of those that are there and their names, separated by commas. (A list
that holds None would be simpler; torch 2.13's ``register_autograd`` takes one for a leaf, and outputs then have no ``grad_fn``.)
Results are the output ``(N, *S, D h)`` and flattened faces ``(D, F, h)``, see :mod:`spatial_lstm.engine.geometry.packing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from spatial_lstm.engine.autocast import no_autocast
from spatial_lstm.engine.geometry import face_positions
from spatial_lstm.engine.kernels import GATES, NOTHING, Incoming, Saved, choose_kernel
from spatial_lstm.engine.problem import make_problem
from spatial_lstm.engine.second_order import differentiate_backward
from spatial_lstm.engine.tensors import Tensors, state_dtype


@torch.library.custom_op("spatial_lstm::forward", mutates_args=())
def forward(
    tensors: Sequence[Tensor],
    names: str,
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
    given = by_name(tensors, names)
    with no_autocast(given.x.device.type):
        problem = make_problem(given, sizes, directions, cell)
        output, far_h, far_c, c, gates = choose_kernel(kernel, problem).forward(problem, keep)
    output = output.reshape(*given.x.shape[:-1], -1)
    return output, far_h, far_c, _with_rows(c, sites + edges), _with_rows(gates, sites)


@forward.register_fake
def _(
    tensors: Sequence[Tensor],
    names: str,
    sizes: Tensor | None,
    directions: str,
    cell: str,
    kernel: str,
    sites: int,
    edges: int,
    keep: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    x, _, weight_hh, *_ = by_name(tensors, names)
    d, hidden = weight_hh.shape[0], weight_hh.shape[2] // (x.ndim - 2)
    slots, carried = face_positions(x.shape[0], x.shape[1:-1])[-1], state_dtype(x.dtype)
    return (
        x.new_empty((*x.shape[:-1], d * hidden)),
        x.new_empty((d, slots, hidden)),
        x.new_empty((d, slots, hidden), dtype=carried),
        x.new_empty((0,) if keep == NOTHING else (d, sites + edges, hidden), dtype=carried),
        x.new_empty((d, sites, weight_hh.shape[1]) if keep == GATES else (0,)),
    )


@torch.library.custom_op("spatial_lstm::backward", mutates_args=())
def backward(
    tensors: Sequence[Tensor],
    names: str,
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
    wanted: str,
) -> list[Tensor]:
    """Return the gradients of the ``wanted`` ones of ``names``, in their order."""
    given = by_name(tensors, names)
    with no_autocast(given.x.device.type):
        problem = make_problem(given, sizes, directions, cell)
        plan = problem.plan
        saved = Saved(
            output.reshape(plan.raster_rows, plan.directions, problem.hidden),
            c_table[:, : plan.table_rows].contiguous(),
            gates[:, : plan.sites].contiguous() if gates.numel() else None,
        )
        rows = None if grad_output is None else grad_output.reshape(saved.output.shape).contiguous()
        faces = (None if grad is None else grad.contiguous() for grad in (grad_far_h, grad_far_c))
        found = choose_kernel(kernel, problem).gradients(problem, saved, Incoming(rows, *faces), wanted.split(","))
        return [getattr(found, name).view(tensor.shape) for name, tensor in _wanted(given, wanted).items()]


@backward.register_fake
def _(
    tensors: Sequence[Tensor],
    names: str,
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
    wanted: str,
) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor in _wanted(by_name(tensors, names), wanted).values()]


def by_name(tensors: Sequence[Tensor], names: str) -> Tensors:
    """The named tuple that travels as a list and ``names``.

    Raises:
        ValueError: If the two do not go together.
    """
    keys = names.split(",")
    if len(keys) != len(tensors):
        raise ValueError(f"expected as many tensors as names, {names}, got {len(tensors)}")
    return Tensors(**dict(zip(keys, tensors, strict=True)))


def _wanted(given: Tensors, wanted: str) -> dict[str, Tensor]:
    names = wanted.split(",")
    return {name: tensor for name, tensor in given.present.items() if name in names}


def _with_rows(table: Tensor, rows: int) -> Tensor:
    """Pad dim 1 of ``table`` to ``rows``; a table of no elements, or of that many rows already, stays as it is.

    Raises:
        ValueError: If it has more: a program that was traced for fixed sizes is run on larger ones.
    """
    if table.numel() == 0 or table.shape[1] == rows:
        return table
    if table.shape[1] > rows:
        raise ValueError(
            f"expected no more than the {rows} sites that this program was traced with, got {table.shape[1]}: "
            "trace it with dynamic sizes (torch.export, torch.compile), or anew"
        )
    return torch.nn.functional.pad(table, (0, 0, 0, rows - table.shape[1]))


def _save_forward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    tensors, ctx.names, sizes, *options, _, _, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*output[3:])
    ctx.save_for_backward(*tensors, sizes, output[0], output[3], output[4])
    ctx.options = options


def _forward_backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    *tensors, sizes, output, c_table, gates = ctx.saved_tensors
    names = ctx.names.split(",")
    needed = [name for name, needs in zip(names, ctx.needs_input_grad[0], strict=True) if needs]
    found: dict[str, Tensor] = {}
    if any(grad is not None for grad in grads[:3]):
        results = backward(
            tensors, ctx.names, sizes, *ctx.options, *grads[:3], output, c_table, gates, ",".join(needed)
        )
        found = dict(zip(needed, results, strict=True))
    return [found.get(name) for name in names], *([None] * 8)


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    tensors, ctx.names, sizes, *ctx.options, _, grad_output, grad_far_h, grad_far_c, _, _, _, ctx.wanted = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, sizes, grad_output, grad_far_h, grad_far_c)


def _backward_backward(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    *tensors, sizes, grad_output, grad_far_h, grad_far_c = ctx.saved_tensors
    given, incoming = by_name(tensors, ctx.names), (grad_output, grad_far_h, grad_far_c)
    by_wanted = dict(zip(ctx.wanted.split(","), grads, strict=True))
    directions, cell = ctx.options
    to_inputs, to_incoming = differentiate_backward(given, sizes, directions, cell, incoming, by_wanted)
    return [to_inputs.get(name) for name in given.present], *([None] * 5), *to_incoming, *([None] * 4)


forward.register_autograd(_forward_backward, setup_context=_save_forward)
backward.register_autograd(_backward_backward, setup_context=_save_backward)
