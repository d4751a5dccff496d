"""The layer without parameters of its own."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from spatial_lstm.arguments import check_flag
from spatial_lstm.engine import (
    Cell,
    StackOptions,
    Weights,
    autocast_dtype,
    check_options,
    check_saved_gates,
    check_tile,
    check_weight,
    parse_directions,
    run_layers,
    weight_shapes,
)
from spatial_lstm.state import State

__all__ = ["spatial_lstm"]


def spatial_lstm(
    input: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    state: State | None = None,
    *,
    directions: str | Sequence[str] | None = None,
    cell: str = "spatial",
    weight_peephole: Tensor | None = None,
    weight_ch: Tensor | None = None,
    sizes: Tensor | Sequence[object] | None = None,
    merge: str = "concat",
    channels_last: bool = False,
    recompute: bool = False,
    saved_gates: str | None = None,
    backend: str = "auto",
    tile: Sequence[int] | None = None,
) -> tuple[Tensor, State]:
    r"""Run one layer in one or more directions; see :class:`spatial_lstm.SpatialLSTM` for the equations and options.

    The number of axes n and of features h follow from the cell and ``weight_hh``, which has ``B h`` rows and ``n h`` columns, B being the
    number of the cell's gates: 3 + n, or 4 for ``"diagonal"``. With D directions the weights carry a leading dimension of D; for one
    direction it may be left out.

    Args:
        input: ``(N, C, *S)``, ``(N, *S, C)`` with ``channels_last``, or either without N.
        weight_ih: ``(D, B h, C)``.
        weight_hh: ``(D, B h, n h)``.
        bias: ``(D, B h)`` or None.
        state: Near faces, ``(D, N, h, *S without k)`` each; None for zeros.
        directions: As in :class:`spatial_lstm.SpatialLSTM`.
        cell: ``"spatial"``, ``"graves"``, ``"stable"`` or ``"diagonal"``.
        weight_peephole: ``(D, 2n + 1, h)``, with ``"graves"`` alone.
        weight_ch: ``(D, B h, n h)``, with ``"spatial"`` alone.
        sizes: Integers ``(N, n)``, or ``(N,)`` for n = 1, in a tensor or in nested sequences: each image's own extent in a padded batch.
            Kept on the CPU they cost no synchronization.
        merge: ``"concat"``, ``"sum"`` or ``"mean"`` of the directions.
        channels_last: Whether channels come last in input and output.
        recompute: Save only h and c for the backward and recompute the gates there.
        saved_gates: ``"bfloat16"``: save the gates of a float32 layer in 16 bits for the backward. See :class:`spatial_lstm.SpatialLSTM`.
        backend: ``"auto"``, ``"composite"``, ``"reference"`` or the name of a kernel; see :func:`spatial_lstm.backends`.
        tile: n extents of tiles to run the grid in, keeping only faces between them; None for the whole at once. See
            :class:`spatial_lstm.SpatialLSTM`.

    Returns:
        The output in the input's layout with ``D h`` channels (``h`` for ``"sum"`` and ``"mean"``), and the far faces.

    Raises:
        ValueError: If shapes, dtypes, devices or options do not fit.
        TypeError: If an argument is of a wrong kind.
    """
    found = check_options(cell, weight_peephole is not None, weight_ch is not None, merge, backend)
    for name, flag in (("channels_last", channels_last), ("recompute", recompute)):
        check_flag(name, flag)
    check_saved_gates(saved_gates, recompute)
    given: dict[str, Tensor | None] = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias": bias}
    given |= {"weight_peephole": weight_peephole, "weight_ch": weight_ch}
    axes, hidden = _axes_and_hidden(weight_hh, found, input)
    names = parse_directions(directions, axes)
    weights = _weights(given, weight_shapes(found, axes, _last(weight_ih), hidden), len(names), weight_hh)
    extents = check_tile(tile, axes, backend)
    options = StackOptions(names, cell, merge, channels_last, recompute, saved_gates, backend, extents)
    output, (h, c) = run_layers(input, [weights], state, sizes, options)
    return output, State(h, c)


def _axes_and_hidden(weight_hh: object, cell: Cell, input: object) -> tuple[int, int]:
    """Axes n and features h, from the B h rows and n h columns of ``weight_hh``, B being the number of the cell's gates for n axes."""
    if not isinstance(weight_hh, Tensor):
        raise TypeError(f"expected weight_hh to be a Tensor, got {type(weight_hh).__name__}")
    if weight_hh.is_nested:
        raise ValueError("expected weight_hh to be dense (torch.strided), got a nested tensor")
    if weight_hh.ndim in (2, 3):
        rows, columns = weight_hh.shape[-2:]
        spatial = [input.ndim - 2, input.ndim - 1] if isinstance(input, Tensor) else []  # first what fits the input
        for axes in (*spatial, *range(1, columns + 1)):
            hidden = columns // axes if axes > 0 else 0
            if hidden > 0 and (rows, columns) == (cell.blocks(axes) * hidden, axes * hidden):
                return axes, hidden
    raise ValueError(
        f"expected weight_hh of shape (D, B h, n h) or without D, where cell {cell.name!r} has B = {cell.blocks(2)} gates for n = 2 axes, "
        f"got {tuple(weight_hh.shape)}"
    )


def _last(weight: object) -> int:
    """Columns of a weight; 0 for what has none, which is refused in its turn."""
    return weight.shape[-1] if isinstance(weight, Tensor) and weight.ndim else 0


def _weights(
    given: dict[str, Tensor | None], shapes: dict[str, tuple[int, ...]], directions: int, like: Tensor
) -> Weights:
    """All weights with their leading dimension of directions, checked."""
    own = like if autocast_dtype(like.device.type) is None else None
    checked: dict[str, Tensor] = {}
    for name, weight in given.items():
        if weight is None and name not in ("weight_ih", "weight_hh"):
            continue
        if isinstance(weight, Tensor) and directions == 1 and weight.ndim == len(shapes[name]):
            weight = weight.unsqueeze(0)
        checked[name] = check_weight(name, weight, (directions, *shapes[name]), own)
    return Weights(**checked)
