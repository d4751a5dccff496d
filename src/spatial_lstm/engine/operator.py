r"""The layer's recurrence as a pair of custom operators, forward and backward, one call per layer over all its directions.

The operators see only shapes that follow from their inputs' shapes, build the plan inside, and so compile and export with dynamic sizes.
What they compute is in :mod:`spatial_lstm.engine.compute`; second derivatives go through :mod:`spatial_lstm.engine.composite`.

:class:`~spatial_lstm.engine.tensors.Tensors` travel as a list of those that are there and their names, separated by commas. (A list
that holds None would be simpler; torch 2.13's ``register_autograd`` takes one for a leaf, and outputs then have no ``grad_fn``.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from spatial_lstm.engine import composite, compute, flops, modes
from spatial_lstm.engine.autocast import without_autocast
from spatial_lstm.engine.batching import one_by_one
from spatial_lstm.engine.compute import Course, Kept, Options, enlarged
from spatial_lstm.engine.geometry import face_positions
from spatial_lstm.engine.kernels import NOTHING, STATES, gates_dtype
from spatial_lstm.engine.layout import face_shapes, flatten_faces, strided_faces, with_faces
from spatial_lstm.engine.problem import grid_of
from spatial_lstm.engine.second_order import Compute, differentiate_backward, differentiate_forward
from spatial_lstm.engine.tensors import Tensors, Weights, state_dtype

# Schemas are written out, since torch 2.6 infers none from annotations that are strings.
_INPUTS = "Tensor[] tensors, str names, Tensor? sizes, str directions, str cell, str kernel"
_TRACED = f"({_INPUTS}, str keep) -> (Tensor, Tensor, Tensor)"
_FORWARD = f"({_INPUTS}, str keep, SymInt sites, SymInt edges) -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
_BACKWARD = (
    f"({_INPUTS}, Tensor? grad_output, Tensor? grad_far_h, Tensor? grad_far_c, Tensor output, Tensor c_table, Tensor gates, "
    "str wanted) -> Tensor[]"
)


@torch.library.custom_op("spatial_lstm::forward", mutates_args=(), schema=_FORWARD)
def forward(
    tensors: Sequence[Tensor],
    names: str,
    sizes: Tensor | None,
    directions: str,
    cell: str,
    kernel: str,
    keep: str,
    sites: int,
    edges: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See :func:`spatial_lstm.engine.compute.forward`; ``sites`` and ``edges`` are how many rows tables are to hold for these.

    Raises:
        RuntimeError: Under forward-mode AD, which the operator would answer with zeros; the router never comes here then.
    """
    modes.refuse_forward_mode()
    options = Options(sizes, directions, cell, kernel)
    given = _by_name(tensors, names)
    output, far_h, far_c, c, gates = without_autocast(given.x.device.type, compute.forward, given, options, keep)
    return (
        output.unflatten(-1, (far_h.shape[0], -1)),
        far_h,
        far_c,
        far_c.new_empty(0) if c is None else enlarged(c, sites + edges, c.shape[-1]),
        output.new_empty(0, dtype=gates_dtype(keep, output.dtype))
        if gates is None
        else enlarged(gates, sites, given.weight_hh.shape[1]),
    )


@forward.register_fake
def _(
    tensors: Sequence[Tensor],
    names: str,
    sizes: Tensor | None,
    directions: str,
    cell: str,
    kernel: str,
    keep: str,
    sites: int,
    edges: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    x, _, weight_hh, *_ = _by_name(tensors, names)
    d, hidden = weight_hh.shape[0], weight_hh.shape[2] // (x.ndim - 2)
    slots, carried = face_positions(x.shape[0], x.shape[1:-1])[-1], state_dtype(x.dtype)
    return (
        x.new_empty((*x.shape[:-1], d, hidden)),
        x.new_empty((d, slots, hidden)),
        x.new_empty((d, slots, hidden), dtype=carried),
        x.new_empty((0,) if keep == NOTHING else (d, sites + edges, hidden), dtype=carried),
        x.new_empty(
            (0,) if keep in (NOTHING, STATES) else (d, sites, weight_hh.shape[1]), dtype=gates_dtype(keep, x.dtype)
        ),
    )


@torch.library.custom_op("spatial_lstm::backward", mutates_args=(), schema=_BACKWARD)
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
    """See :func:`spatial_lstm.engine.compute.backward`; the gradients of the ``wanted`` ones of ``names``, in their order."""
    given, options = _by_name(tensors, names), Options(sizes, directions, cell, kernel)
    grads = (grad_output, grad_far_h, grad_far_c)
    kept, asked = (output, c_table, gates), wanted.split(",")
    found = without_autocast(given.x.device.type, compute.backward, given, options, grads, kept, asked)
    return list(found.values())


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
    asked = wanted.split(",")
    return [t.new_empty(t.shape) for name, t in _by_name(tensors, names).present().items() if name in asked]


def run(
    given: Tensors, options: Options, keep: str, *, together: bool = False
) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Run a layer, differentiably if something is kept; directly where the dispatcher, half of a small call's time, is not needed.

    The tensors are known to fit the cell and one another, which a kernel that is run directly relies on; the weights may come without D.
    Returns the output, ``(N, *S, D h)`` or, unless ``together``, ``(N, *S, D, h)``, and the n far faces ``(D, N, h, *S without k)`` of h
    and of c.
    """
    axes = given.x.ndim - 2
    if not modes.followed() and modes.plain(given):
        if keep == NOTHING:
            return _as_asked(given.x, together, *compute.forward(given, options, keep, checked=True)[:3])
        results = _Recurrence.apply(options, keep, together, *given)  # type: ignore[no-untyped-call]
        return results[0], results[1 : axes + 1], results[axes + 1 :]
    present = given.with_directions().present()
    arguments = list(present.values()), ",".join(present), *options, keep
    results = torch.ops.spatial_lstm.recurrence(*arguments) if modes.traced() else _run_operator(*arguments)
    output, h_faces, c_faces = with_faces(*results)
    return output.flatten(-2) if together else output, h_faces, c_faces


def _run_operator(
    tensors: Sequence[Tensor], names: str, sizes: Tensor | None, directions: str, cell: str, kernel: str, keep: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The forward operator's first three results, and as many rows as there are."""
    options = Options(sizes, directions, cell, kernel)
    rows = _rows_to_hold(_by_name(tensors, names).x, options)
    output, far_h, far_c, *_ = forward(tensors, names, *options, keep, *rows)
    return output, far_h, far_c


def _as_traced(
    tensors: Sequence[Tensor], names: str, sizes: Tensor | None, directions: str, cell: str, kernel: str, keep: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in a program of ``torch.jit.trace``, which would hold for one grid and for training alone, or for anything but training."""
    training = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return _run_operator(tensors, names, sizes, directions, cell, kernel, keep if training else NOTHING)


def _as_asked(
    x: Tensor, together: bool, output: Tensor, far_h: Tensor, far_c: Tensor
) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The results of :func:`run`, from those of a kernel, where autograd does not look."""
    if not together:
        output = output.unflatten(-1, (far_h.shape[0], -1))
    return output, *strided_faces(far_h, far_c, x.shape[0], x.shape[1:-1])


def _rows_to_hold(x: Tensor, options: Options) -> tuple[int, int]:
    """For sites and near-face entries: their exact number, or that without padding's saving while sizes have no values."""
    if options.sizes is not None and not modes.without_values(options.sizes):
        grid = grid_of(x, options.sizes, options.directions)
        return grid.sites, grid.edges
    batch, *extents, _ = x.shape
    sites = batch
    for extent in extents:
        sites = sites * extent
    return sites, sum(sites // extent for extent in extents)


class _Recurrence(torch.autograd.Function):
    """The forward operator in eager mode, from all fields of :class:`Tensors`."""

    @staticmethod
    def forward(ctx: Any, options: Options, keep: str, together: bool, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        given = Tensors._make(tensors)
        (*results, c, gates), ctx.course = compute.forward_with_course(given, options, keep)
        output, h_faces, c_faces = _as_asked(given.x, together, *results)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, options.sizes, output, c, gates)
        ctx.options = options
        return output, *h_faces, *c_faces

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        *tensors, sizes, output, c, gates = ctx.saved_tensors
        given, options = Tensors._make(tensors), ctx.options if sizes is None else ctx.options._replace(sizes=sizes)
        grads = grads[0], *_flat_faces(given.x, grads[1:])
        wanted = [name for name, needs in zip(Tensors._fields, ctx.needs_input_grad[3:], strict=True) if needs]
        found = _differentiate(given, options, grads, (output, c, gates), wanted, ctx.course)
        return None, None, None, *map(found.get, Tensors._fields)


def _flat_faces(x: Tensor, grads: Sequence[Tensor | None]) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of the far faces of h and then of c, flattened."""
    given = [grad for grad in grads if grad is not None]
    if not given:
        return None, None
    axes = x.ndim - 2
    hidden = given[0].shape[2]
    shapes = face_shapes(x.shape[0], x.shape[1:-1], hidden)
    return flatten_faces(grads[:axes], x.dtype, shapes), flatten_faces(grads[axes:], state_dtype(x.dtype), shapes)


def _differentiate(
    given: Tensors,
    options: Options,
    grads: Sequence[Tensor | None],
    kept: Kept,
    wanted: list[str],
    course: Course | None = None,
) -> Mapping[str, Tensor | None]:
    """The ``wanted`` gradients by name, from those of the forward's first three results.

    The output and its gradient are ``(N, *S, D h)`` or ``(N, *S, D, h)``.
    """
    if not [grad for grad in grads if grad is not None]:
        return {}
    if not (torch.is_grad_enabled() or modes.backward_needs_composite(grads) or modes.followed()):
        course = course if course is not None and course.leads_on(given, kept) else None
        if modes.plain(grads) and (course is not None or modes.plain(given)):
            return without_autocast(given.x.device.type, compute.backward, given, options, grads, kept, wanted, course)
    full, (output, c, gates), (grad_output, *others) = given.with_directions(), kept, grads
    apart = (*given.x.shape[:-1], full.weight_hh.shape[0], full.weight_hh.shape[-1] // (given.x.ndim - 2))
    grads = None if grad_output is None else grad_output.reshape(apart), *others
    present = full.present()
    found: Mapping[str, Tensor | None]
    if modes.backward_needs_composite(grads):
        found = differentiate_forward(_composite(options), present, grads, wanted)
    else:
        tables = output.reshape(apart), c, output.new_empty(0) if gates is None else gates
        results = backward(list(present.values()), ",".join(present), *options, *grads, *tables, ",".join(wanted))
        found = dict(zip(wanted, results, strict=True))
    return found if full is given else _without_directions(found)


def _without_directions(found: Mapping[str, Tensor | None]) -> dict[str, Tensor | None]:
    """Gradients in the shapes of what lacks a dimension of directions."""
    return {name: t.squeeze(0) if name in Weights._fields and t is not None else t for name, t in found.items()}


def _save_forward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    tensors, ctx.names, sizes, *options = inputs[:6]
    states, _, _, c, gates = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(c, gates)
    ctx.save_for_backward(*tensors, sizes, states, c, gates)
    ctx.options = Options(None, *options)


def _forward_backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    *tensors, sizes, output, c, gates = ctx.saved_tensors
    given, options = _by_name(tensors, ctx.names), ctx.options._replace(sizes=sizes)
    names = ctx.names.split(",")
    wanted = [name for name, needs in zip(names, ctx.needs_input_grad[0], strict=True) if needs]
    found = _differentiate(given, options, grads[:3], (output, c, gates), wanted)
    return [found.get(name) for name in names], *([None] * 8)


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    tensors, ctx.names, sizes, *options, grad_output, grad_far_h, grad_far_c, _, _, _, ctx.wanted = inputs
    ctx.options = Options(None, *options)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, sizes, grad_output, grad_far_h, grad_far_c)


def _backward_backward(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    *tensors, sizes, grad_output, grad_far_h, grad_far_c = ctx.saved_tensors
    given, incoming = _by_name(tensors, ctx.names), (grad_output, grad_far_h, grad_far_c)
    by_wanted = dict(zip(ctx.wanted.split(","), grads, strict=True))
    options = ctx.options._replace(sizes=sizes)
    to_inputs, to_incoming = differentiate_backward(_composite(options), given.present(), incoming, by_wanted)
    return [to_inputs.get(name) for name in given.present()], *([None] * 5), *to_incoming, *([None] * 4)


def _composite(options: Options) -> Compute:
    """What the forward operator computes, in plain torch."""
    return lambda given: composite.forward(Tensors(**given), options.sizes, options.directions, options.cell)


def _by_name(tensors: Sequence[Tensor], names: str) -> Tensors:
    """The named tuple that travels as a list and ``names``.

    Raises:
        ValueError: If the two do not go together.
    """
    keys = names.split(",")
    if len(keys) != len(tensors) or not set(Tensors._fields) >= set(keys) >= {"x", "weight_ih", "weight_hh"}:
        raise ValueError(f"expected tensors and their names in {Tensors._fields}, got {len(tensors)} called {names!r}")
    return Tensors(**dict(zip(keys, tensors, strict=True)))


torch.library.define("spatial_lstm::recurrence", _TRACED)
torch.library.impl("spatial_lstm::recurrence", "CompositeImplicitAutograd", _as_traced)
forward.register_autograd(_forward_backward, setup_context=_save_forward)
backward.register_autograd(_backward_backward, setup_context=_save_backward)
torch.library.register_vmap(forward, one_by_one(forward))
torch.library.register_vmap(backward, one_by_one(backward))
flops.register_flops()
