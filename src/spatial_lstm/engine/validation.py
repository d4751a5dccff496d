"""Checks of what users pass in; each says what was expected and what came."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from spatial_lstm.arguments import as_positive_int, check_choice, kind, refuse_other
from spatial_lstm.engine import modes
from spatial_lstm.engine.autocast import autocast_dtype
from spatial_lstm.engine.cells import CELLS, Cell, get_cell
from spatial_lstm.engine.layout import MERGES, Faces
from spatial_lstm.engine.router import BACKENDS
from spatial_lstm.engine.tensors import state_dtype

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (
    *(torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
)
SAVED_GATES = ("bfloat16",)


def check_options(cell: str, peephole: bool, extended: bool, merge: str = "concat", backend: str = "auto") -> Cell:
    """Return the cell, having refused unknown and ill-matched options."""
    found = get_cell(cell)
    if peephole and not found.takes_peephole:
        takers = _those_that(lambda each: each.takes_peephole)
        raise ValueError(f"expected peepholes with cell={takers} alone, got cell={cell!r}")
    if extended and not found.takes_extended:
        takers = _those_that(lambda each: each.takes_extended)
        raise ValueError(f"expected extended=True with cell={takers} alone, got cell={cell!r}")
    if not isinstance(merge, str) or merge not in MERGES:  # two calls less, which a small call notices
        check_choice("merge", merge, MERGES)
    if not isinstance(backend, str) or backend not in BACKENDS:
        check_choice("backend", backend, BACKENDS)
    return found


def _those_that(take: Callable[[Cell], bool]) -> str:
    """The names of the cells that do, quoted."""
    return " or ".join(repr(name) for name, cell in CELLS.items() if take(cell))


def check_dtype(dtype: object) -> None:
    """Refuse a type of parameters, None being torch's default, that no input can have."""
    if dtype is None:
        dtype = torch.get_default_dtype()
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"expected dtype to be a torch.dtype or None, got {kind(dtype)}")
    if dtype not in DTYPES:
        raise ValueError(f"expected dtype to be one of {', '.join(map(str, DTYPES))}, got {dtype}")


def check_weight(name: str, weight: object, shape: tuple[int, ...], like: Tensor | None) -> Tensor:
    """Return a weight, having refused what is no dense tensor of this shape, and of the dtype and device of ``like`` where given."""
    if not isinstance(weight, Tensor):
        raise TypeError(f"expected {name} to be a Tensor, got {type(weight).__name__}")
    _check_dense(name, weight)
    if weight.shape != shape:
        raise ValueError(f"expected {name} of shape {shape}, got {tuple(weight.shape)}")
    if like is not None:
        _check_like(name, weight, like, (like.dtype,))
    return weight


def check_whole(name: str, tensor: Tensor) -> None:
    """Refuse a DTensor where every process computes on the whole."""
    if modes.sharded(tensor):
        raise TypeError(
            f"expected {name} to be a Tensor as a whole, got a DTensor: take its full_tensor(), or unshard() its module before; "
            "a field that is split over processes is run by spatial_lstm.distributed.SpatialParallel"
        )


def check_input(input: object, weight: Tensor, axes: int, channels: int, channels_last: bool, least: int = 1) -> bool:
    """Refuse an input of a wrong kind, rank, channels, dtype, device or extents below ``least``; return whether it is batched."""
    if isinstance(input, PackedSequence):
        raise TypeError(
            "expected input to be a Tensor, got a PackedSequence: unpack it, x, lengths = pad_packed_sequence(.., batch_first=True), "
            "and give the lengths as sizes=lengths to a layer with channels_last=True"
        )
    if not isinstance(input, Tensor):
        refuse_other("input", input)
    if type(input) not in modes.PLAIN or type(weight) not in modes.PLAIN:  # calls less, which a small call notices
        check_whole("input", input)
        check_whole("weight_hh", weight)
    if input.is_nested:
        raise ValueError(
            "expected a dense input, got a nested tensor: pad it with torch.nested.to_padded_tensor and give each one's own extent as sizes"
        )
    if input.layout != torch.strided:
        raise ValueError(f"expected a dense input (torch.strided), got {input.layout}: convert it with to_dense()")
    layout = "(N, *S, C)" if channels_last else "(N, C, *S)"
    if input.ndim not in (axes + 1, axes + 2):
        raise ValueError(
            f"expected input of shape {layout} with {axes} spatial axes, {axes + 2} dimensions, or {axes + 1} unbatched, "
            f"got {input.ndim} dimensions: {tuple(input.shape)}"
        )
    batched = input.ndim == axes + 2
    at = input.ndim - 1 if channels_last else int(batched)
    if input.shape[at] != channels:
        raise ValueError(
            f"expected {channels} channels in dimension {at} of input {layout}, got {input.shape[at]}: {tuple(input.shape)}"
        )
    extents = input.shape[-axes - 1 : -1] if channels_last else input.shape[-axes:]
    for extent in extents:
        if extent < least:
            raise ValueError(f"expected positive spatial extents, got {list(extents)}")
    if input.dtype not in DTYPES:
        raise ValueError(f"expected input of dtype {', '.join(map(str, DTYPES))}, got {input.dtype}")
    _check_like("input", input, weight, (weight.dtype,))
    return batched


def check_sizes(sizes: object, batch: int, extents: Sequence[int]) -> Tensor | None:
    """Return ``sizes`` as ``(N, n)`` int64 on the CPU; its values are checked where the plan is made."""
    if sizes is None:
        return None
    if isinstance(sizes, (list, tuple)):
        sizes = _as_tensor(sizes, len(extents))
    if not isinstance(sizes, Tensor):
        raise TypeError(f"expected sizes to be an integer Tensor or a sequence of integers, got {type(sizes).__name__}")
    _check_dense("sizes", sizes)
    if sizes.dtype not in INTEGERS:
        raise TypeError(f"expected sizes to be integers, got {sizes.dtype}")
    _check_known("sizes", sizes)
    if sizes.ndim == 1 and len(extents) == 1:
        sizes = sizes.unsqueeze(1)
    elif sizes.ndim == 1 and batch == 1:
        sizes = sizes.unsqueeze(0)
    if tuple(sizes.shape) != (batch, len(extents)):
        raise ValueError(f"expected sizes of shape {(batch, len(extents))}, got {tuple(sizes.shape)}")
    found = sizes.to("cpu", torch.int64)
    if sizes.dtype == torch.uint64 and not modes.without_values(sizes) and bool((found < 0).any()):
        raise ValueError(f"expected sizes from 1 to the batch's extents {tuple(extents)}, got {sizes.tolist()}")
    return found


def _check_known(name: str, values: Tensor) -> None:
    if values.is_meta or modes.vmapped(values):
        told = "a tensor on the meta device" if values.is_meta else "a tensor that vmap maps over"
        raise ValueError(f"expected {name} whose values are known, the same in every entry of a vmap, got {told}")


@modes.ends_a_graph("expected no sizes in a program that is one graph: what is computed depends on their values")
def known(name: str, values: Tensor, beside: Tensor | None = None) -> Any:
    """Return integers as Python's, in lists as they are nested; ``beside`` is what is computed with them.

    Raises:
        ValueError: If they have no values, or others whenever the program runs.
    """
    _check_known(name, values)
    if modes.recorded(values, beside):
        told = "traced, exported or run on fake tensors"
        raise ValueError(f"expected {name} whose values are known, got a program that is {told}")
    return values.tolist()


def _as_tensor(sizes: Sequence[object], axes: int) -> Tensor:
    try:
        if any(map(_holds_bool, sizes)):
            raise TypeError("a bool is no size")
        # Whatever the default device is: the values are needed on the CPU.
        return torch.tensor(sizes, device="cpu") if sizes else torch.zeros((0, axes), dtype=torch.int64, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"expected sizes to be a Tensor or a sequence of integers, one row each, got {sizes!r}"
        ) from error


def _holds_bool(entry: object) -> bool:
    """Whether among some sizes there is a bool, which torch would take for 0 or 1."""
    if isinstance(entry, (list, tuple)):
        return any(map(_holds_bool, entry))
    return isinstance(entry, bool) or (
        isinstance(entry, (Tensor, np.ndarray, np.generic)) and "bool" in str(entry.dtype)
    )


def _check_dense(name: str, tensor: Tensor) -> None:
    """Refuse a tensor that is not rows of numbers side by side; of some others torch cannot even tell the shape."""
    if tensor.is_nested or tensor.layout != torch.strided:
        told = "a nested tensor" if tensor.is_nested else tensor.layout
        raise ValueError(f"expected {name} to be dense (torch.strided), got {told}")


def check_state(
    state: object,
    batched: bool,
    shapes: Sequence[tuple[int, ...]],
    rows: int,
    dtypes: tuple[torch.dtype, ...],
    like: Tensor,
) -> tuple[Faces, Faces] | None:
    """Return the near faces of h and of c, batched, having refused faces that do not fit.

    ``shapes`` are those of one direction's faces, ``(N, h, *S without k)``; ``rows`` is num_layers * D.
    """
    if state is None:
        return None
    if not isinstance(state, tuple) or len(state) != 2:
        raise TypeError(f"expected state to be a State(h, c) or None, got {_describe(state)}")
    groups: list[Faces] = []
    for name, faces in zip("hc", state, strict=True):
        if not isinstance(faces, (tuple, list)) or len(faces) != len(shapes):
            raise ValueError(f"expected state.{name} to be a tuple of {len(shapes)} faces, got {_describe(faces)}")
        checked = [
            _check_face(f"state.{name}[{axis}]", face, (rows, *(shape if batched else shape[1:])), dtypes, like)
            for axis, (face, shape) in enumerate(zip(faces, shapes, strict=True))
        ]
        groups.append(tuple(face if face is None or batched else face.unsqueeze(1) for face in checked))
    return groups[0], groups[1]


def _check_face(
    name: str, face: object, shape: tuple[int, ...], dtypes: tuple[torch.dtype, ...], like: Tensor
) -> Tensor | None:
    if face is None:
        return None
    if not isinstance(face, Tensor):
        raise TypeError(f"expected {name} to be a Tensor or None, got {type(face).__name__}")
    _check_dense(name, face)
    if not modes.sharded(like):
        check_whole(name, face)
    if tuple(face.shape) != shape:
        raise ValueError(f"expected {name} of shape {shape}, got {tuple(face.shape)}")
    _check_like(name, face, like, dtypes)
    return face


def _check_like(name: str, tensor: Tensor, like: Tensor, dtypes: tuple[torch.dtype, ...]) -> None:
    """Refuse a tensor of another device or dtype than the weights'."""
    if tensor.device != like.device:
        raise ValueError(f"expected {name} on the weights' device {like.device}, got {tensor.device}")
    if tensor.dtype not in dtypes:
        raise ValueError(
            f"expected {name} of dtype {' or '.join(map(str, dtypes))}, as the weights, got {tensor.dtype}"
        )


def _describe(value: object) -> str:
    return (
        f"{type(value).__name__} of length {len(value)}" if isinstance(value, (tuple, list)) else type(value).__name__
    )


def check_forget_bias(forget_bias: object, bias: bool) -> None:
    """Refuse a forget bias that is no finite number, or that has no bias to go into."""
    if forget_bias is None:
        return
    if isinstance(forget_bias, bool) or not isinstance(forget_bias, (int, float)):
        raise TypeError(f"expected forget_bias to be a float or None, got {kind(forget_bias)}")
    if not abs(forget_bias) < math.inf:
        raise ValueError(f"expected forget_bias to be finite, got {forget_bias}")
    if not bias:
        raise ValueError(f"expected forget_bias=None with bias=False, got {forget_bias}")


def check_site(x: object, weight: Tensor, features: int) -> None:
    """Refuse the input of one site where it is not ``(N, C)`` or ``(C,)``."""
    if not isinstance(x, Tensor):
        refuse_other("x", x, "SpatialLSTMCell")
    _check_dense("x", x)
    if modes.sharded(x) != modes.sharded(weight):
        check_whole("x", x)
        check_whole("weight_hh", weight)
    if x.ndim not in (1, 2) or x.shape[-1] != features:
        raise ValueError(f"expected x of shape (N, {features}) or ({features},), got {tuple(x.shape)}")
    if x.dtype not in DTYPES:
        raise ValueError(f"expected x of dtype {', '.join(map(str, DTYPES))}, got {x.dtype}")
    if autocast_dtype(x.device.type) is None:
        _check_like("x", x, weight, (weight.dtype,))


def check_site_state(
    predecessors: object, axes: int, shape: tuple[int, ...], x: Tensor
) -> list[tuple[Tensor | None, Tensor | None]]:
    """Return n pairs ``(h_k, c_k)``, having refused those that do not fit."""
    if predecessors is None:
        return [(None, None)] * axes
    if not isinstance(predecessors, (tuple, list)) or len(predecessors) != axes:
        raise ValueError(f"expected predecessors to be a tuple of {axes} pairs (h, c), got {_describe(predecessors)}")
    dtypes = DTYPES if autocast_dtype(x.device.type) is not None else (x.dtype, state_dtype(x.dtype))
    pairs: list[tuple[Tensor | None, Tensor | None]] = []
    for axis, pair in enumerate(predecessors):
        if pair is None:
            pair = (None, None)
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ValueError(f"expected predecessors[{axis}] to be a pair (h, c) or None, got {_describe(pair)}")
        h, c = (_check_face(f"predecessors[{axis}][{k}]", t, shape, dtypes, x) for k, t in enumerate(pair))
        pairs.append((h, c))
    return pairs


def check_tile(tile: object, axes: int, backend: str) -> tuple[int, ...] | None:
    """Return the extents of a tile, having refused what are not ``axes`` positive ints, or backends that know no tiles."""
    if tile is None:
        return None
    if not isinstance(tile, (tuple, list)):
        refuse_other("tile", tile, wanted=f"a tuple of {axes} ints or None")
    if len(tile) != axes:
        raise ValueError(f"expected tile to have one extent for each of {axes} spatial axes, got {tuple(tile)}")
    extents = tuple([as_positive_int(f"tile[{axis}]", extent) for axis, extent in enumerate(tile)])
    if backend in ("composite", "reference"):
        raise ValueError(f"expected backend 'auto' or the name of a kernel with a tile, got {backend!r}")
    return extents


def check_saved_gates(saved_gates: object, recompute: bool) -> None:
    """Refuse what is no way to save gates, or any where none are saved."""
    if saved_gates is None:
        return
    if not isinstance(saved_gates, str) or saved_gates not in SAVED_GATES:
        raise ValueError(f"expected saved_gates to be one of {SAVED_GATES} or None, got {saved_gates!r}")
    if recompute:
        raise ValueError(f"expected saved_gates=None with recompute=True, which saves no gates, got {saved_gates!r}")


def check_gates_of(dtype: torch.dtype, saved_gates: str | None) -> None:
    """Refuse to save float64 gates in fewer bits: who computes in float64 wants derivatives that are as exact."""
    if saved_gates is not None and dtype == torch.float64:
        raise ValueError(f"expected saved_gates=None with torch.float64, got {saved_gates!r}")


def check_dropout(dropout: object) -> None:
    """Refuse anything but a probability."""
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)):
        raise TypeError(f"expected dropout to be a float, got {kind(dropout)}")
    if not 0 <= dropout <= 1:
        raise ValueError(f"expected dropout in [0, 1], got {dropout}")
