"""Between users' tensors and the one layout inside: batched, channels last, faces flattened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from spatial_lstm.engine import modes
from spatial_lstm.engine.geometry import face_positions

Faces = tuple[Tensor | None, ...]
MERGES = ("concat", "sum", "mean")


def parse_directions(directions: str | Sequence[str] | None, axes: int) -> tuple[str, ...]:
    """Return the directions as distinct strings of one letter per axis.

    Raises:
        ValueError: If a direction is not ``axes`` letters of ``f`` and ``r``, or comes twice, or there is none.
        TypeError: If it is no string.
    """
    if directions is None:
        return ("f" * axes,)
    if isinstance(directions, str) and directions == "all":
        return tuple(format(i, f"0{axes}b").replace("0", "f").replace("1", "r") for i in range(2**axes))
    parsed = (directions,) if isinstance(directions, str) else directions
    if not isinstance(parsed, (list, tuple)):
        raise TypeError(f"expected directions to be None, 'all', a string or a sequence of strings, got {directions!r}")
    if not parsed:
        raise ValueError("expected at least one direction, got none")
    for direction in parsed:
        if not isinstance(direction, str):
            raise TypeError(
                f"expected directions to be None, 'all', a string or a sequence of strings, got {directions!r}"
            )
        if len(direction) != axes or direction.strip("fr"):
            raise ValueError(
                f"expected each direction to be {axes} letters of 'f' and 'r', or 'all', got {direction!r}"
            )
    if len(set(parsed)) != len(parsed):
        raise ValueError(f"expected distinct directions, got {tuple(parsed)}")
    return tuple(parsed)


def to_channels_last(input: Tensor, axes: int, channels_last: bool) -> Tensor:
    """``(N, C, *S)``, ``(N, *S, C)`` or either without N to ``(N, *S, C)``."""
    if input.ndim == axes + 1:
        return to_channels_last(input.unsqueeze(0), axes, channels_last)
    return input if channels_last else _moved(input, 1, -1)


def from_channels_last(output: Tensor, batched: bool, channels_last: bool) -> Tensor:
    """``(N, *S, C)`` to the layout of the input."""
    if not channels_last:
        output = _moved(output, -1, 1)
    return output if batched else output.squeeze(0)


def _moved(tensor: Tensor, source: int, destination: int) -> Tensor:
    """``movedim``, but a copy where a program is compiled for training: inductor (torch 2.13) keeps what a convolution reads, and what a
    layer before one reads, and of a view it then compares strides that are not known.
    """
    moved = tensor.movedim(source, destination)
    if torch.compiler.is_compiling() and torch.is_grad_enabled():
        return moved.clone(memory_format=torch.contiguous_format)
    return moved


def merge_directions(output: Tensor, merge: str) -> Tensor:
    """``(N, *S, D, h)`` to ``(N, *S, D h)``, or ``(N, *S, h)`` for ``"sum"`` and ``"mean"``."""
    if merge == "concat" or output.shape[-2] == 1:
        return output.flatten(-2)
    merged = output.sum(-2)  # not mean(), whose gradient has a copy for every direction
    return merged if merge == "sum" else merged / output.shape[-2]


def face_shapes(batch: int, extents: Sequence[int], features: int) -> list[tuple[int, ...]]:
    """``(N, h, *S without k)`` for each axis k."""
    return [(batch, features, *extents[:k], *extents[k + 1 :]) for k in range(len(extents))]


def flatten_faces(
    faces: Sequence[Tensor | None], dtype: torch.dtype, shapes: Sequence[tuple[int, ...]]
) -> Tensor | None:
    """Faces ``(D, N, h, *S without k)`` to rows ``(D, F, h)``, zeros for a face that is None; None when all are."""
    given = [face for face in faces if face is not None]
    if not given:
        return None
    if len(faces) == 1:
        return given[0].to(dtype)
    rows = []
    for face, (batch, hidden, *rest) in zip(faces, shapes, strict=True):
        if face is None:
            rows.append(given[0].new_zeros((given[0].shape[0], batch * math.prod(rest), hidden), dtype=dtype))
        else:
            # no flatten(), which is_grads_batched does not know
            rows.append(face.movedim(2, -1).reshape(face.shape[0], batch * math.prod(rest), hidden).to(dtype))
    return torch.cat(rows, dim=1)


def unflatten_faces(rows: Tensor, shapes: Sequence[tuple[int, ...]]) -> tuple[Tensor, ...]:
    """Rows ``(D, F, h)`` to faces ``(D, N, h, *S without k)``."""
    if len(shapes) == 1:
        return (rows,)
    faces = torch.split_with_sizes(rows, [batch * math.prod(rest) for batch, _, *rest in shapes], 1)
    return tuple(
        face.view(face.shape[0], batch, *rest, hidden).movedim(-1, 2)
        for face, (batch, hidden, *rest) in zip(faces, shapes, strict=True)
    )


def with_faces(output: Tensor, far_h: Tensor, far_c: Tensor) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Output ``(N, *S, D, h)`` as it is, and its flattened far faces through :func:`own_faces`."""
    batch, *extents, _, hidden = output.shape
    shapes = face_shapes(batch, extents, hidden)
    return output, own_faces(far_h, shapes), own_faces(far_c, shapes)


def own_faces(rows: Tensor, shapes: Sequence[tuple[int, ...]]) -> tuple[Tensor, ...]:
    """What :func:`unflatten_faces` returns, but no views, so that users may change one in place."""
    return tuple(face.clone() for face in unflatten_faces(rows, shapes))


def strided_faces(
    h: Tensor, c: Tensor, batch: int, extents: tuple[int, ...]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """What :func:`own_faces` returns for each, without copies, where autograd does not look: cheaper in small calls."""
    if len(extents) == 1:
        return (h,), (c,)
    places = _face_places(h.shape[0], h.shape[2], batch, extents)
    with modes.apart():
        return tuple([h.as_strided(*place) for place in places]), tuple([c.as_strided(*place) for place in places])


@lru_cache(maxsize=256)
def _face_places(
    directions: int, hidden: int, batch: int, extents: tuple[int, ...]
) -> list[tuple[tuple[int, ...], tuple[int, ...], int]]:
    """Size, strides and offset of each face within contiguous rows ``(D, F, h)``."""
    starts, places = face_positions(batch, extents), []
    for axis, start in enumerate(starts[:-1]):
        rest = (*extents[:axis], *extents[axis + 1 :])
        strides = [hidden * math.prod(rest[k:]) for k in range(len(rest) + 1)]
        size = (directions, batch, hidden, *rest)
        places.append((size, (hidden * starts[-1], strides[0], 1, *strides[1:]), hidden * start))
    return places
