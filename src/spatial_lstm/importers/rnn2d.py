"""From rnn2d.

Layout, after jpuigcerver/rnn2d: one flat array; for each of four directions biases ``(5, h)``, input weights ``(C, 5, h)``, and two blocks
of recurrent weights ``(h, 5, h)``, all multiplied from the right. What follows what has changed in the course of its history:

- ``"y-first"``, as in ``src/lstm_stable_cpu.cc`` of commit 5eb8d77 and ``src/lstm_cpu.cc`` of 59ea67f: gates g, i, o, then the two of the
  forgetting; weights of what comes from above before those of what comes from the left; directions ff, fr, rf, rr.
- ``"x-first"``, as in ``src/lstm_gpu.cu`` of commit c3cb7a3 and RETURNN: gates i, the two of the forgetting, o, g; from the left before
  from above; directions ff, rf, fr, rr.

The two gates of the forgetting are f and lambda in its stable cell, whose lambda opens to what is above as l does here, and one for each
axis in its plain cell. That is ``"graves"`` here, except where later commits halve both forget terms: half of a logistic function is none
of other weights, so no weights make a cell of this package compute that.
"""

from __future__ import annotations

from dataclasses import dataclass

from spatial_lstm import SpatialLSTM
from spatial_lstm.arguments import as_int
from spatial_lstm.importers.arrays import Array, Order, as_array, common_dtype, fill, from_columns, named


@dataclass(frozen=True)
class Layout:
    """What follows what.

    Attributes:
        order: Where the gates are that come first, second, .. here.
        directions: In their order.
        above_first: Whether what comes from above goes before what comes from the left.
        cells: Whose source has this layout.
    """

    order: Order
    directions: tuple[str, ...]
    above_first: bool
    cells: tuple[str, ...]


LAYOUTS = {
    "y-first": Layout((1, 3, 4, 0, 2), ("ff", "fr", "rf", "rr"), True, ("stable", "graves")),
    "x-first": Layout((0, 1, 2, 4, 3), ("ff", "rf", "fr", "rr"), False, ("graves",)),
}


def from_rnn2d(
    parameters: object, hidden_size: int, *, layout: str, cell: str = "stable", channels_last: bool = False
) -> SpatialLSTM:
    """Return the layer that computes what rnn2d computes with these parameters, all four directions side by side.

    Neither layout nor cell can be seen in the array.

    Args:
        parameters: The flat array, such as the ``weight`` of its Torch module.
        hidden_size: Units of a direction.
        layout: ``"y-first"`` or ``"x-first"``; see :mod:`spatial_lstm.importers.rnn2d`.
        cell: ``"stable"``, or ``"graves"`` for the plain one that does not halve its forget terms. Of the stable one, ``"y-first"`` is the
            only layout that is public.
        channels_last: Of the new layer.

    Raises:
        ValueError: If the array's length does not fit, there is no such layout, or not of this cell.
        TypeError: If it is no array of floating point numbers, or ``hidden_size`` no int.
    """
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise ValueError(f"expected layout to be one of {', '.join(LAYOUTS)}, got {layout!r}")
    hidden_size = as_int("hidden_size", hidden_size)
    found = LAYOUTS[layout]
    if cell not in found.cells:
        why = "a cell that halves its forget terms is none of this package's"
        raise ValueError(f"expected a cell of layout {layout!r}, {' or '.join(found.cells)}, got {cell!r}; {why}")
    array = as_array("parameters", parameters).reshape(-1)
    inputs = _inputs(len(array), hidden_size)
    layer = SpatialLSTM(
        inputs,
        hidden_size,
        channels_last=channels_last,
        directions="all",
        cell=cell,
        dtype=common_dtype([array]),
    )
    weights: dict[str, Array] = {}
    for direction, own in zip(found.directions, array.reshape(4, -1, 5, hidden_size), strict=True):
        first, second = own[1 + inputs : 1 + inputs + hidden_size], own[1 + inputs + hidden_size :]
        above, left = (first, second) if found.above_first else (second, first)
        weights |= named(from_columns(own[0], own[1 : 1 + inputs], above, left, found.order), direction)
    return fill(layer, weights)


def _inputs(length: int, hidden: int) -> int:
    """Channels of the input, by the number of the parameters: 4 (1 + C + 2 h) 5 h."""
    rows, rest = divmod(length, 20 * max(1, hidden))
    if hidden < 1 or rest or rows < 2 + 2 * hidden:
        told = "4 (1 + inputs + 2 hidden) 5 hidden"
        raise ValueError(f"expected {told} parameters with inputs of 1 or more, got {length} of hidden_size={hidden}")
    return rows - 1 - 2 * hidden
