"""The NumPy reference behind the layer's own interface, gradients included: slow, and the measure of everything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spatial_lstm import reference
from spatial_lstm.engine import modes
from spatial_lstm.engine.layout import face_shapes, unflatten_faces
from spatial_lstm.engine.tensors import Tensors, Weights, state_dtype

Array = npt.NDArray[Any]
Results = tuple[Tensor, Tensor, Tensor]


def forward(tensors: Tensors, sizes: Tensor | None, directions: tuple[str, ...], cell: str) -> Results:
    """Return the output and the far faces of h and c; arguments and shapes as in :mod:`spatial_lstm.engine.operator`.

    Computed in float64 and rounded to the tensors' own types at the end. Derivatives of first order alone.

    Raises:
        ValueError: If NumPy is not to see the tensors' values, or a traced program would take the results for constants.
    """
    if modes.traced() or modes.exporting() or modes.valueless(tensors.present().values()):
        raise ValueError(
            "expected another backend than 'reference', such as 'auto', for tensors without values (on the meta device, fake) and for "
            "programs that are exported or traced"
        )
    output, far_h, far_c = _ReferenceFunction.apply(sizes, directions, cell, *tensors)  # type: ignore[no-untyped-call]
    return output, far_h, far_c


class _ReferenceFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, sizes: Tensor | None, directions: tuple[str, ...], cell: str, *inputs: Tensor | None
    ) -> Results:
        tensors = Tensors._make(inputs)
        ctx.runs = [_run(tensors, sizes, d, direction, cell) for d, direction in enumerate(directions)]
        ctx.like = tensors
        x = tensors.x
        output = np.stack([np.moveaxis(run.h, 1, -1) for run in ctx.runs], axis=-2)
        far_h, far_c = (
            np.stack([_rows(faces) for faces in group]) for group in zip(*(r.state for r in ctx.runs), strict=True)
        )
        carried = x.new_empty(0, dtype=state_dtype(x.dtype))
        return _to(output, x), _to(far_h, x), _to(far_c, carried)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if modes.functorch_active() or modes.backward_needs_composite(grads):
            raise ValueError(
                "expected backend 'auto' or 'composite' under forward-mode AD, torch.func transforms and batched gradients, got 'reference'"
            )
        output, far_h, far_c = (grad.detach().to("cpu", torch.float64) for grad in grads)
        batch, *extents, _, _ = output.shape
        shapes = face_shapes(batch, extents, far_h.shape[-1])
        parts = []
        for d, (run, grad) in enumerate(zip(ctx.runs, output.unbind(-2), strict=True)):
            faces = [[f[0].numpy() for f in unflatten_faces(far[d : d + 1], shapes)] for far in (far_h, far_c)]
            parts.append(reference.backward(run, grad.movedim(-1, 1).numpy(), None, (faces[0], faces[1])))
        found = {"x": np.moveaxis(np.sum([part.x for part in parts], axis=0), 1, -1)}
        found |= {
            name: np.stack([getattr(part, name) for part in parts])
            for name in ctx.like.present()
            if name in Weights._fields
        }
        for name, state in (("h0", "h"), ("c0", "c")):
            found[name] = np.stack([_rows(getattr(part.state, state)) for part in parts])
        present = ctx.like.present()
        gradients = [_to(found[name], t) for name, t in present.items()]
        if torch.is_grad_enabled():
            gradients = _NoFurther.apply(len(gradients), *gradients, *present.values())  # type: ignore[no-untyped-call]
        by_name = dict(zip(present, gradients, strict=True))
        return None, None, None, *map(by_name.get, Tensors._fields)


class _NoFurther(torch.autograd.Function):
    """Gradients of which a derivative is refused, instead of being zero."""

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(t.view_as(t) for t in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, ...]:
        raise ValueError("expected backend 'auto' or 'composite' for derivatives of second order, got 'reference'")


def _run(tensors: Tensors, sizes: Tensor | None, d: int, direction: str, cell: str) -> reference.Forward:
    """One direction of the layer."""
    x = tensors.x
    shapes = face_shapes(x.shape[0], x.shape[1:-1], tensors.weight_hh.shape[2] // (x.ndim - 2))

    def own(tensor: Tensor | None) -> Array | None:
        return None if tensor is None else _array(tensor[d])

    def near(rows: Tensor | None) -> list[Array | None]:
        return (
            [None] * len(shapes) if rows is None else [_array(f[0]) for f in unflatten_faces(rows[d : d + 1], shapes)]
        )

    return reference.forward(
        _array(x.movedim(-1, 1)),
        _array(tensors.weight_ih[d]),
        _array(tensors.weight_hh[d]),
        own(tensors.bias),
        cell=cell,
        direction=direction,
        weight_peephole=own(tensors.weight_peephole),
        weight_ch=own(tensors.weight_ch),
        state=(near(tensors.h0), near(tensors.c0)),
        sizes=None if sizes is None else sizes.numpy(),
    )


def _array(tensor: Tensor) -> Array:
    return tensor.detach().to("cpu", torch.float64).numpy()


def _to(array: Array, like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(like.device, like.dtype)


def _rows(faces: tuple[Array, ...]) -> Array:
    """Faces ``(N, h, *S without k)`` to rows ``(F, h)``."""
    return np.concatenate([np.moveaxis(face, 1, -1).reshape(-1, face.shape[1]) for face in faces])
