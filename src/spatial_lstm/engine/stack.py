"""Running one or more layers: what :mod:`spatial_lstm.functional` and the modules share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spatial_lstm.engine.autocast import autocast_dtype, cast, no_autocast
from spatial_lstm.engine.layout import (
    face_shapes,
    flatten_faces,
    from_channels_last,
    merge_directions,
    to_channels_last,
    unflatten_faces,
)
from spatial_lstm.engine.problem import Tensors, state_dtype
from spatial_lstm.engine.router import recurrence
from spatial_lstm.engine.validation import DTYPES, check_input, check_sizes, check_state
from spatial_lstm.state import State


class LayerWeights(NamedTuple):
    """One layer's weights, with a leading dimension of directions; shapes as in :mod:`spatial_lstm.engine.operator`."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor | None
    weight_peephole: Tensor | None
    weight_ch: Tensor | None


class Options(NamedTuple):
    """What all layers of a stack have in common; see :class:`spatial_lstm.SpatialLSTM`."""

    directions: tuple[str, ...]
    cell: str
    merge: str
    channels_last: bool
    recompute: bool
    backend: str


def run_layers(
    input: Tensor,
    layers: Sequence[LayerWeights],
    state: State | None,
    sizes: Tensor | None,
    options: Options,
    between: Callable[[Tensor], Tensor] = lambda output: output,
) -> tuple[Tensor, State]:
    """Check the input, run the layers one on the other (``between`` is applied in between), return output and far faces."""
    like, count, axes = layers[0].weight_hh, len(options.directions), len(options.directions[0])
    autocast = autocast_dtype(like.device.type)
    if autocast is not None:
        input, like = cast(input, autocast), cast(like, autocast)
        layers = [LayerWeights._make(None if w is None else cast(w, autocast) for w in layer) for layer in layers]
    batched = check_input(input, like, axes, layers[0].weight_ih.shape[-1], options.channels_last)
    x = to_channels_last(input, axes, options.channels_last)
    shapes = face_shapes(x.shape[0], x.shape[1:-1], like.shape[-1] // axes)
    sizes = check_sizes(sizes, x.shape[0], x.shape[1:-1])
    accepted = DTYPES if autocast is not None else (x.dtype, state_dtype(x.dtype))
    state = check_state(state, batched, shapes, len(layers) * count, accepted, like)
    far: list[tuple[Tensor, Tensor]] = []
    for depth, weights in enumerate(layers):
        rows = slice(depth * count, (depth + 1) * count)
        output, *faces = _run_layer(x, weights, *_near_faces(state, rows, x.dtype, shapes), sizes, options)
        x = merge_directions(output, count, options.merge)
        x = between(x) if depth + 1 < len(layers) else x
        far.append((faces[0], faces[1]))
    return from_channels_last(x, batched, options.channels_last), _far_state(far, batched, shapes)


def _run_layer(
    x: Tensor, weights: LayerWeights, h0: Tensor | None, c0: Tensor | None, sizes: Tensor | None, options: Options
) -> tuple[Tensor, Tensor, Tensor]:
    """Output ``(N, *S, D h)`` and flattened far faces ``(D, F, h)`` of h and c."""
    if x.shape[0] == 0:
        return _empty(x, (*weights, h0, c0))
    with no_autocast(x.device.type):
        return recurrence(
            Tensors(x, *weights, h0, c0),
            sizes,
            options.directions,
            options.cell,
            recompute=options.recompute,
            backend=options.backend,
        )


def _near_faces(
    state: State | None, rows: slice, dtype: torch.dtype, shapes: list[tuple[int, ...]]
) -> tuple[Tensor | None, Tensor | None]:
    """One layer's near faces of h and c, flattened; ``rows`` are its rows of the stack's state."""
    if state is None:
        return None, None
    h, c = ([None if face is None else face[rows] for face in faces] for faces in state)
    return flatten_faces(h, dtype, shapes), flatten_faces(c, state_dtype(dtype), shapes)


def _far_state(far: list[tuple[Tensor, Tensor]], batched: bool, shapes: list[tuple[int, ...]]) -> State:
    """Far faces of all layers, ``(num_layers * D, N, h, *S without k)`` each."""
    h, c = (unflatten_faces(torch.cat(rows) if len(rows) > 1 else rows[0], shapes) for rows in zip(*far, strict=True))
    if not batched:
        h, c = (tuple(face.squeeze(1) for face in faces) for faces in (h, c))
    return State(h, c)


def _empty(x: Tensor, tensors: Sequence[Tensor | None]) -> tuple[Tensor, Tensor, Tensor]:
    """Results for a batch of no images, part of the graph all the same, so that training on them gives zero gradients."""
    weight_hh = tensors[1]
    assert weight_hh is not None
    axes = x.ndim - 2
    count, hidden = weight_hh.shape[0], weight_hh.shape[-1] // axes
    anchor = torch.stack([t.sum().to(x.dtype) for t in (x, *tensors) if t is not None]).sum() * 0
    faces = x.new_zeros((count, 0, hidden))
    return x.new_zeros((*x.shape[:-1], count * hidden)) + anchor, faces, faces.to(state_dtype(x.dtype))
