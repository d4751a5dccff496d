"""Running one or more layers: what :mod:`spatial_lstm.functional` and the modules share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spatial_lstm.engine import tiling
from spatial_lstm.engine.autocast import autocast_dtype, cast, no_autocast
from spatial_lstm.engine.layout import (
    Faces,
    face_shapes,
    flatten_faces,
    from_channels_last,
    merge_directions,
    own_faces,
    to_channels_last,
)
from spatial_lstm.engine.router import composite_needed, recurrence
from spatial_lstm.engine.tensors import Tensors, Weights, state_dtype
from spatial_lstm.engine.validation import DTYPES, check_gates_of, check_input, check_sizes, check_state, check_weight


class StackOptions(NamedTuple):
    """What all layers of a stack have in common; see :class:`spatial_lstm.SpatialLSTM`."""

    directions: tuple[str, ...]
    cell: str
    merge: str
    channels_last: bool
    recompute: bool
    saved_gates: str | None
    backend: str
    tile: tuple[int, ...] | None


# The arguments and results of run_layer, which is the one that is used by default.
LayerRunner = Callable[
    [Tensor, Weights, Tensor | None, Tensor | None, Tensor | None, StackOptions], tuple[Tensor, Faces, Faces]
]


def run_layer(
    x: Tensor, weights: Weights, h0: Tensor | None, c0: Tensor | None, sizes: Tensor | None, options: StackOptions
) -> tuple[Tensor, Faces, Faces]:
    """From input ``(N, *S, C)`` and flattened near faces ``(D, F, h)`` of h and c: merged output and far faces of h and c."""
    if autocast_dtype(x.device.type) is not None:
        with no_autocast(x.device.type):
            return run_layer(x, weights, h0, c0, sizes, options)
    tensors = Tensors(x, *weights, h0=h0, c0=c0)
    if x.shape[0] == 0:
        output, h, c = _empty(tensors)
        return merge_directions(output, options.merge), h, c
    together = options.merge == "concat" or len(options.directions) == 1
    output, h, c = recurrence(
        tensors,
        sizes,
        options.directions,
        options.cell,
        recompute=options.recompute,
        saved_gates=options.saved_gates,
        backend=options.backend,
        together=together,
    )
    return output if together else merge_directions(output, options.merge), h, c


def run_layers(
    input: Tensor,
    layers: Sequence[Weights],
    state: tuple[Faces, Faces] | None,
    sizes: Tensor | Sequence[object] | None,
    options: StackOptions,
    between: Callable[[Tensor], Tensor] | None = None,
    *,
    each: LayerRunner = run_layer,
    least: int = 1,
) -> tuple[Tensor, tuple[Faces, Faces]]:
    """Check the input, run the layers one on the other, return output and far faces of h and c.

    Args:
        input: As in :class:`spatial_lstm.SpatialLSTM`, like the next three.
        layers: Their weights, lowest first.
        state: Near faces, or None.
        sizes: Each image's own extent, or None.
        options: What all layers have in common.
        between: Applied to the output of every layer but the last, or None.
        each: What runs one layer that does not run in tiles.
        least: The smallest extent that is accepted; 0 for parts of a field, of which some may be empty.
    """
    like, count, axes = layers[0].weight_hh, len(options.directions), len(options.directions[0])
    autocast = autocast_dtype(like.device.type)
    if autocast is not None:
        input, like = cast(input, autocast), cast(like, autocast)
        layers = [_cast_weights(layer, autocast, like) for layer in layers]
    batched = check_input(input, like, axes, layers[0].weight_ih.shape[-1], options.channels_last, least)
    check_gates_of(input.dtype, options.saved_gates)
    x = to_channels_last(input, axes, options.channels_last)
    own = None if sizes is None else check_sizes(sizes, x.shape[0], x.shape[1:-1])
    near, shapes = None, []
    if state is not None:
        shapes = face_shapes(x.shape[0], x.shape[1:-1], like.shape[-1] // axes)
        accepted = DTYPES if autocast is not None else (x.dtype, state_dtype(x.dtype))
        near = check_state(state, batched, shapes, len(layers) * count, accepted, like)
    far: list[tuple[Faces, Faces]] = []
    for group in _groups(x, len(layers), options, between):
        x = x if between is None or not far else between(x)
        rows = slice(group.start * count, group.stop * count)
        faces = (None, None) if near is None else _near_faces(near, rows, x.dtype, shapes)
        x, h, c = _run_group(x, layers[group], *faces, own, options, each)
        far.append((h, c))
    return from_channels_last(x, batched, options.channels_last), _far_faces(far, batched)


def _cast_weights(weights: Weights, dtype: torch.dtype, like: Tensor) -> Weights:
    """As autocast would cast them; float64, which it leaves alone, goes with nothing else."""
    found = {
        name: cast(weight, dtype) for name, weight in zip(Weights._fields, weights, strict=True) if weight is not None
    }
    return Weights(**{name: check_weight(name, weight, weight.shape, like) for name, weight in found.items()})


def _groups(x: Tensor, layers: int, options: StackOptions, between: object) -> list[slice]:
    """The layers that run together: all of them where one tile after the other goes through them all, else each alone."""
    together = options.tile is not None and len(options.directions) == 1 and between is None
    if together and not _without_tiles(x, options):
        return [slice(0, layers)]
    return [slice(depth, depth + 1) for depth in range(layers)]


def _without_tiles(x: Tensor, options: StackOptions) -> bool:
    """Whether layers run whole: not asked for tiles, nothing to compute, or followed in a way that only plain torch can be."""
    return options.tile is None or x.shape[0] == 0 or composite_needed()


def _run_group(
    x: Tensor,
    layers: Sequence[Weights],
    h0: Tensor | None,
    c0: Tensor | None,
    sizes: Tensor | None,
    options: StackOptions,
    each: LayerRunner,
) -> tuple[Tensor, Faces, Faces]:
    """Merged output ``(N, *S, D h)`` or ``(N, *S, h)`` and the far faces of h and c, of each layer in its turn."""
    if options.tile is not None and not _without_tiles(x, options):
        names = ",".join(options.directions)
        told = tiling.StageOptions(sizes, names, options.cell, options.backend, options.merge, options.tile)
        with no_autocast(x.device.type):
            stage = tiling.Stage(x, tuple(layer.with_directions() for layer in layers), h0, c0, told)
            output, far_h, far_c = tiling.run(stage)
        shapes = face_shapes(x.shape[0], x.shape[1:-1], stage.hidden)
        return output, own_faces(far_h, shapes), own_faces(far_c, shapes)
    (weights,) = layers
    return each(x, weights, h0, c0, sizes, options)


def _near_faces(
    state: tuple[Faces, Faces], rows: slice, dtype: torch.dtype, shapes: list[tuple[int, ...]]
) -> tuple[Tensor | None, Tensor | None]:
    """One layer's near faces of h and c, flattened; ``rows`` are its rows of the stack's state."""
    h, c = ([None if face is None else face[rows] for face in faces] for faces in state)
    return flatten_faces(h, dtype, shapes), flatten_faces(c, state_dtype(dtype), shapes)


def _far_faces(far: list[tuple[Faces, Faces]], batched: bool) -> tuple[Faces, Faces]:
    """Far faces of h and c of all layers, ``(num_layers * D, N, h, *S without k)`` each."""
    h, c = far[0]
    if len(far) > 1:
        h, c = (tuple(map(torch.cat, zip(*faces, strict=True))) for faces in zip(*far, strict=True))
    if not batched:
        h, c = (tuple(face.squeeze(1) for face in faces if face is not None) for faces in (h, c))
    return h, c


def _empty(tensors: Tensors) -> tuple[Tensor, Faces, Faces]:
    """Results for a batch of no images, part of the graph all the same, so that training on them gives zero gradients."""
    x, weight_hh = tensors.x, tensors.with_directions().weight_hh
    count, hidden = weight_hh.shape[0], weight_hh.shape[-1] // (x.ndim - 2)
    anchor = torch.stack([t.sum().to(x.dtype) for t in tensors.present().values()]).sum() * 0
    shapes = face_shapes(0, x.shape[1:-1], hidden)
    h, c = (
        tuple(x.new_zeros((count, *shape), dtype=own) + anchor for shape in shapes)
        for own in (x.dtype, state_dtype(x.dtype))
    )
    return x.new_zeros((*x.shape[:-1], count, hidden)) + anchor, h, c
