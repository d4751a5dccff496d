"""The layer without parameters of its own."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from spatial_lstm.engine.layout import parse_directions
from spatial_lstm.engine.stack import LayerWeights, Options, run_layers
from spatial_lstm.engine.validation import check_options, check_weights
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
    sizes: Tensor | None = None,
    merge: str = "concat",
    channels_last: bool = False,
    recompute: bool = False,
    backend: str = "auto",
) -> tuple[Tensor, State]:
    r"""Run one layer in one or more directions; see :class:`spatial_lstm.SpatialLSTM` for the equations and options.

    The number of axes n and of features h follow from ``weight_hh``, which has ``(3 + n) h`` rows and ``n h`` columns. With D directions
    the weights carry a leading dimension of D; for one direction it may be left out.

    Args:
        input: ``(N, C, *S)``, ``(N, *S, C)`` with ``channels_last``, or either without N.
        weight_ih: ``(D, (3 + n) h, C)``.
        weight_hh: ``(D, (3 + n) h, n h)``.
        bias: ``(D, (3 + n) h)`` or None.
        state: Near faces, ``(D, N, h, *S without k)`` each; None for zeros.
        directions: As in :class:`spatial_lstm.SpatialLSTM`.
        cell: ``"spatial"``, ``"graves"`` or ``"stable"``.
        weight_peephole: ``(D, 2n + 1, h)``, with ``"graves"`` alone.
        weight_ch: ``(D, (3 + n) h, n h)``, with ``"spatial"`` alone.
        sizes: ``(N, n)`` integers, each image's own extent in a padded batch; kept on the CPU they cost no synchronisation.
        merge: ``"concat"``, ``"sum"`` or ``"mean"`` of the directions.
        channels_last: Whether channels come last in input and output.
        recompute: Save only h and c for the backward and recompute the gates there.
        backend: ``"auto"``, ``"composite"``, ``"reference"`` or the name of a kernel; see :func:`spatial_lstm.backends`.

    Returns:
        The output in the input's layout with ``D h`` channels (``h`` for ``"sum"`` and ``"mean"``), and the far faces.

    Raises:
        ValueError: If shapes, dtypes, devices or options do not fit.
        TypeError: If an argument is of a wrong kind.
    """
    check_options(cell, weight_peephole is not None, weight_ch is not None, merge, backend)
    axes = _axes(weight_hh)
    names = parse_directions(directions, axes)
    weights = _weights(weight_ih, weight_hh, bias, weight_peephole, weight_ch, len(names), axes)
    options = Options(names, cell, merge, channels_last, recompute, backend)
    return run_layers(input, [weights], state, sizes, options)


def _axes(weight_hh: object) -> int:
    """n, from ``(3 + n) h`` rows and ``n h`` columns."""
    if not isinstance(weight_hh, Tensor):
        raise TypeError(f"expected weight_hh to be a Tensor, got {type(weight_hh).__name__}")
    if weight_hh.ndim in (2, 3):
        rows, columns = weight_hh.shape[-2:]
        hidden, rest = divmod(rows - columns, 3)
        if hidden > 0 and rest == 0 and columns > 0 and columns % hidden == 0:
            return columns // hidden
    raise ValueError(f"expected weight_hh of shape (D, (3 + n) h, n h) or without D, got {tuple(weight_hh.shape)}")


def _weights(
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None,
    weight_peephole: Tensor | None,
    weight_ch: Tensor | None,
    directions: int,
    axes: int,
) -> LayerWeights:
    """All weights with their leading dimension of directions, checked."""

    def widen(name: str, weight: Tensor | None, ndim: int) -> Tensor | None:
        if weight is not None and not isinstance(weight, Tensor):
            raise TypeError(f"expected {name} to be a Tensor, got {type(weight).__name__}")
        return weight.unsqueeze(0) if weight is not None and directions == 1 and weight.ndim == ndim - 1 else weight

    ih, hh = widen("weight_ih", weight_ih, 3), widen("weight_hh", weight_hh, 3)
    b, peephole, ch = (
        widen("bias", bias, 2),
        widen("weight_peephole", weight_peephole, 3),
        widen("weight_ch", weight_ch, 3),
    )
    assert ih is not None
    assert hh is not None
    check_weights(ih, hh, b, peephole, ch, directions, axes)
    return LayerWeights(ih, hh, b, peephole, ch)
