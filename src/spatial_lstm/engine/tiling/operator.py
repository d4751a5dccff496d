"""A stage's passes through its tiles as a pair of custom operators; what they compute is in :mod:`spatial_lstm.engine.tiling.passes`.

Tensors travel as in :mod:`spatial_lstm.engine.operator`, as a list of those that are there and their names, which are those of
:meth:`Stage.tensors`. Second derivatives, and what operators on lists cannot follow, go through the whole field in plain torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from spatial_lstm.engine import flops, modes
from spatial_lstm.engine.batching import one_by_one
from spatial_lstm.engine.geometry import face_positions
from spatial_lstm.engine.second_order import Compute, differentiate_backward, differentiate_forward
from spatial_lstm.engine.tensors import state_dtype
from spatial_lstm.engine.tiling import passes
from spatial_lstm.engine.tiling.stage import Stage, StageOptions, whole

# Schemas are written out, since torch 2.6 infers none from annotations that are strings.
_INPUTS = "Tensor[] tensors, str names, Tensor? sizes, str directions, str cell, str kernel, str merge, SymInt[] tile"
_TRACED = f"({_INPUTS}) -> (Tensor, Tensor, Tensor)"
_FORWARD = f"({_INPUTS}, bool keep) -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
_BACKWARD = (
    f"({_INPUTS}, Tensor? grad_output, Tensor? grad_far_h, Tensor? grad_far_c, Tensor near_h, Tensor near_c, "
    "str wanted) -> Tensor[]"
)


@torch.library.custom_op("spatial_lstm::tiled_forward", mutates_args=(), schema=_FORWARD)
def forward(
    tensors: Sequence[Tensor],
    names: str,
    sizes: Tensor | None,
    directions: str,
    cell: str,
    kernel: str,
    merge: str,
    tile: Sequence[int],
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See :func:`spatial_lstm.engine.tiling.passes.forward`.

    Raises:
        RuntimeError: Under forward-mode AD, which the operator would answer with zeros; a layer never comes here then.
    """
    modes.refuse_forward_mode()
    options = StageOptions(sizes, directions, cell, kernel, merge, tuple(tile))
    output, far_h, far_c, near_h, near_c = passes.forward(_stage(tensors, names, options), keep)
    return output, far_h, far_c, near_h, near_c


@forward.register_fake
def _(
    tensors: Sequence[Tensor],
    names: str,
    sizes: Tensor | None,
    directions: str,
    cell: str,
    kernel: str,
    merge: str,
    tile: Sequence[int],
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    stage = _stage(tensors, names, StageOptions(sizes, directions, cell, kernel, merge, tuple(tile)))
    x, carried = stage.x, state_dtype(stage.x.dtype)
    far = (stage.planes, face_positions(x.shape[0], stage.extents)[-1], stage.hidden)
    near = (stage.planes, passes.kept_rows(stage) if keep else 0, stage.hidden)
    return (
        x.new_empty((*x.shape[:-1], stage.width)),
        x.new_empty(far),
        x.new_empty(far, dtype=carried),
        x.new_empty(near),
        x.new_empty(near, dtype=carried),
    )


@torch.library.custom_op("spatial_lstm::tiled_backward", mutates_args=(), schema=_BACKWARD)
def backward(
    tensors: Sequence[Tensor],
    names: str,
    sizes: Tensor | None,
    directions: str,
    cell: str,
    kernel: str,
    merge: str,
    tile: Sequence[int],
    grad_output: Tensor | None,
    grad_far_h: Tensor | None,
    grad_far_c: Tensor | None,
    near_h: Tensor,
    near_c: Tensor,
    wanted: str,
) -> list[Tensor]:
    """See :func:`spatial_lstm.engine.tiling.passes.backward`; the gradients of the ``wanted`` ones of ``names``, in their order."""
    stage = _stage(tensors, names, StageOptions(sizes, directions, cell, kernel, merge, tuple(tile)))
    grads = (grad_output, grad_far_h, grad_far_c)
    return list(passes.backward(stage, grads, (near_h, near_c), wanted.split(",")).values())


@backward.register_fake
def _(
    tensors: Sequence[Tensor],
    names: str,
    sizes: Tensor | None,
    directions: str,
    cell: str,
    kernel: str,
    merge: str,
    tile: Sequence[int],
    grad_output: Tensor | None,
    grad_far_h: Tensor | None,
    grad_far_c: Tensor | None,
    near_h: Tensor,
    near_c: Tensor,
    wanted: str,
) -> list[Tensor]:
    asked = wanted.split(",")
    return [t.new_empty(t.shape) for name, t in zip(names.split(","), tensors, strict=True) if name in asked]


def run(stage: Stage) -> tuple[Tensor, Tensor, Tensor]:
    """Run a stage, differentiably where gradients are recorded; return its output and flattened far faces of all planes."""
    given = stage.tensors()
    run_now = torch.ops.spatial_lstm.tiled_recurrence if modes.traced() else _recurrence
    output, far_h, far_c = run_now(list(given.values()), ",".join(given), *stage.options)
    return output, far_h, far_c


def _recurrence(
    tensors: Sequence[Tensor],
    names: str,
    sizes: Tensor | None,
    directions: str,
    cell: str,
    kernel: str,
    merge: str,
    tile: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor]:
    """The forward operator's first three results; an operator itself, so that a traced program decides when it runs what to keep."""
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    output, far_h, far_c, *_ = forward(tensors, names, sizes, directions, cell, kernel, merge, tile, keep)
    return output, far_h, far_c


def _stage(tensors: Sequence[Tensor], names: str, options: StageOptions) -> Stage:
    return Stage.of(dict(zip(names.split(","), tensors, strict=True)), options)


def _whole(options: StageOptions) -> Compute:
    """What the forward operator computes, in plain torch."""
    return lambda given: whole(Stage.of(given, options))


def _save_forward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    tensors, ctx.names, sizes, *options, _ = inputs
    *_, near_h, near_c = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(near_h, near_c)
    ctx.save_for_backward(*tensors, sizes, near_h, near_c)
    ctx.options = StageOptions(None, *options)


def _forward_backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    *tensors, sizes, near_h, near_c = ctx.saved_tensors
    incoming, names, options = grads[:3], ctx.names.split(","), ctx.options._replace(sizes=sizes)
    wanted = [name for name, needs in zip(names, ctx.needs_input_grad[0], strict=True) if needs]
    found: dict[str, Any] = {}
    if all(grad is None for grad in incoming):
        return [None] * len(names), *([None] * 8)
    if modes.backward_needs_composite(incoming):
        found = differentiate_forward(_whole(options), dict(zip(names, tensors, strict=True)), incoming, wanted)
    else:
        results = backward(tensors, ctx.names, *options, *incoming, near_h, near_c, ",".join(wanted))
        found = dict(zip(wanted, results, strict=True))
    return [found.get(name) for name in names], *([None] * 8)


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    tensors, ctx.names, sizes, *options, grad_output, grad_far_h, grad_far_c, _, _, ctx.wanted = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, sizes, grad_output, grad_far_h, grad_far_c)
    ctx.options = StageOptions(None, *options)


def _backward_backward(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    *tensors, sizes, grad_output, grad_far_h, grad_far_c = ctx.saved_tensors
    given, incoming = dict(zip(ctx.names.split(","), tensors, strict=True)), (grad_output, grad_far_h, grad_far_c)
    by_wanted = dict(zip(ctx.wanted.split(","), grads, strict=True))
    compute = _whole(ctx.options._replace(sizes=sizes))
    to_inputs, to_incoming = differentiate_backward(compute, given, incoming, by_wanted)
    return [to_inputs.get(name) for name in given], *([None] * 7), *to_incoming, *([None] * 3)


torch.library.define("spatial_lstm::tiled_recurrence", _TRACED)
torch.library.impl("spatial_lstm::tiled_recurrence", "CompositeImplicitAutograd", _recurrence)
forward.register_autograd(_forward_backward, setup_context=_save_forward)
backward.register_autograd(_backward_backward, setup_context=_save_backward)
torch.library.register_vmap(forward, one_by_one(forward))
torch.library.register_vmap(backward, one_by_one(backward))
flops.register_flops()
