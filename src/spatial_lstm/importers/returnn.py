"""From the multi-dimensional LSTM of RETURNN (Voigtlaender et al., 2016).

Layout, after rwth-i6/returnn, ``returnn/theano/layers/twod.py`` (its layer class ``mdlstm``) and the operator that it runs, of which
jpuigcerver/rnn2d keeps a copy in ``ref_impl``: for each of four directions, input weights ``W`` ``(C, 5 h)``, ``U`` ``(h, 5 h)`` of what
comes from the left, ``V`` ``(h, 5 h)`` from above, all multiplied from the right, and biases ``b`` ``(5 h,)``. Gates i, f, lambda, o, g;
lambda opens to what is above, as l of ``"stable"`` does here. Directions 1 .. 4 are ff, rf, fr, rr.

The operator can be compiled without its stable cell; it then halves its forget terms, which no cell of this package does.
"""

from __future__ import annotations

from collections.abc import Mapping

from spatial_lstm import SpatialLSTM
from spatial_lstm.importers.arrays import (
    Array,
    as_array,
    check_mapping,
    check_shape,
    common_dtype,
    fill,
    from_columns,
    named,
)

ORDER = (0, 1, 2, 4, 3)
DIRECTIONS = {"1": "ff", "2": "rf", "3": "fr", "4": "rr"}
KINDS = ("W", "U", "V", "b")


def from_returnn(parameters: Mapping[str, object], *, merge: str = "mean", channels_last: bool = False) -> SpatialLSTM:
    """Return the layer that computes what a layer ``mdlstm`` of RETURNN with four directions computes.

    Args:
        parameters: Its arrays by name, ``W1``, ``U1``, ``V1``, ``b1`` .. ``b4``, each also with ``_`` and the layer's name behind, as
            in the layer's group of a model file.
        merge: ``"mean"`` for its projection ``average``. Its projection ``concat`` puts the directions of a feature side by side:
            channel ``4 k + d`` there is channel ``d h + k`` of ``merge="concat"``, d counting ff, rf, fr, rr there and ff, fr, rf, rr here.
        channels_last: Of the new layer.

    Raises:
        ValueError: If a name is missing or strange, or the shapes do not fit.
        TypeError: If this is no mapping, or one is no array of floating point numbers.
    """
    check_mapping("parameters", parameters)
    arrays = _by_short_name(parameters)
    inputs, hidden = _sizes(arrays["W1"])
    found: dict[str, Array] = {}
    for number, direction in DIRECTIONS.items():
        own = [arrays[kind + number] for kind in KINDS]
        shapes = ((inputs, 5 * hidden), (hidden, 5 * hidden), (hidden, 5 * hidden), (5 * hidden,))
        for kind, array, shape in zip(KINDS, own, shapes, strict=True):
            check_shape(kind + number, array, shape, f"of {inputs} inputs and {hidden} units")
        x, left, above, bias = (array.reshape(*array.shape[:-1], 5, hidden) for array in own)
        found |= named(from_columns(bias, x, above, left, ORDER), direction)
    layer = SpatialLSTM(
        inputs,
        hidden,
        channels_last=channels_last,
        directions="all",
        cell="stable",
        merge=merge,
        dtype=common_dtype(arrays.values()),
    )
    return fill(layer, found)


def _by_short_name(parameters: Mapping[str, object]) -> dict[str, Array]:
    """The arrays by their names without the layer's.

    Raises:
        ValueError: If one is missing, there twice or none of these.
    """
    expected = {kind + number for number in DIRECTIONS for kind in KINDS}
    short = {name: str(name).partition("_")[0] for name in parameters}
    if len(set(short.values())) < len(short) or set(short.values()) != expected:
        found = ", ".join(map(str, parameters))
        raise ValueError(f"expected the arrays {', '.join(sorted(expected))} of one layer, got {found}")
    return {short[name]: as_array(name, value) for name, value in parameters.items()}


def _sizes(weights: Array) -> tuple[int, int]:
    """Inputs and units."""
    if weights.ndim != 2 or not weights.size or weights.shape[1] % 5:
        raise ValueError(f"expected W1 of shape (inputs, 5 * units), got {weights.shape}")
    return weights.shape[0], weights.shape[1] // 5
