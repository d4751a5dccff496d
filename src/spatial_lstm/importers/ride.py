"""From the spatial LSTM of RIDE's released code (Theis & Bethge, 2015).

Layout, after lucastheis/ride, ``code/ride/slstm.py``, ``slstm.prototxt`` and ``slstm_extended.prototxt``: for each gate a matrix ``(h, C +
2 h)`` and a bias ``(h,)`` by name; columns of the input, of h from the left, of h from above and, in the extended network, of c from the
left and of c from above, 2 h more. ``f_i`` is the forget gate of what is above, ``f_j`` of what is to the left. This is ``"spatial"`` here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from spatial_lstm import SpatialLSTM
from spatial_lstm.importers.arrays import Array, as_array, check_mapping, check_shape, common_dtype, fill

# In the order of the gates here: i, f_0, f_1, g, o.
GATES = ("i", "f_i", "f_j", "g", "o")
NAMES = [f"{kind}_{gate}" for gate in GATES for kind in ("W", "b")]


def from_ride(
    layers: Mapping[str, object] | Iterable[Mapping[str, object]],
    *,
    extended: bool = False,
    channels_last: bool = False,
) -> SpatialLSTM:
    """Return the layer that computes what the spatial LSTMs of a RIDE compute, one or several on one another.

    Its nonlinearity has to be its default, ``TanH``, which the arrays do not tell. The other parts of a RIDE, its whitening and its
    mixture, are parameters of other programs and are not read.

    Args:
        layers: What ``SLSTM.parameters()`` returns: ``W_g``, ``b_g``, ``W_i``, ``b_i``, ``W_f_i``, ``b_f_i``, ``W_f_j``, ``b_f_j``, ``W_o``
            and ``b_o``; of several layers a sequence, the lowest first.
        extended: Whether the networks were made with ``extended=True``, so that cell states go into the gates.
        channels_last: Of the new layer.

    Raises:
        ValueError: If there is no layer, a name is missing or strange, or the shapes do not fit.
        TypeError: If one is no array of floating point numbers, or a layer no mapping.
    """
    told = list(layers) if isinstance(layers, Iterable) and not isinstance(layers, Mapping) else [layers]
    if not told:
        raise ValueError("expected the parameters of at least one layer, got none")
    for place, each in enumerate(told):
        check_mapping(f"layers[{place}]", each)
    read = [_arrays(each) for each in told]
    hidden, inputs = _sizes(read[0]["W_i"], extended)
    found: dict[str, Array] = {}
    for place, arrays in enumerate(read):
        found |= _weights(arrays, place, hidden if place else inputs, hidden, extended)
    dtype = common_dtype([array for arrays in read for array in arrays.values()])
    layer = SpatialLSTM(
        inputs, hidden, len(read), channels_last=channels_last, cell="spatial", extended=extended, dtype=dtype
    )
    return fill(layer, found)


def _arrays(parameters: Mapping[str, object]) -> dict[str, Array]:
    if set(parameters) != set(NAMES):
        raise ValueError(f"expected the arrays {', '.join(NAMES)}, got {', '.join(map(str, parameters))}")
    return {name: as_array(name, parameters[name]) for name in NAMES}


def _sizes(matrix: Array, extended: bool) -> tuple[int, int]:
    """Units and inputs, by the shape of the lowest layer's ``W_i``."""
    states = 4 if extended else 2
    if matrix.ndim != 2 or not matrix.size or matrix.shape[1] <= states * len(matrix):
        raise ValueError(f"expected W_i of shape (hidden, inputs + {states} * hidden), got {matrix.shape}")
    return len(matrix), matrix.shape[1] - states * len(matrix)


def _weights(arrays: Mapping[str, Array], place: int, inputs: int, hidden: int, extended: bool) -> dict[str, Array]:
    """The weights of a layer, by the names of the new layer's parameters."""
    columns = inputs + (4 if extended else 2) * hidden
    for gate in GATES:
        check_shape(f"W_{gate}", arrays[f"W_{gate}"], (hidden, columns), f"of {inputs} inputs and {hidden} units")
        check_shape(f"b_{gate}", arrays[f"b_{gate}"], (hidden,), f"of {hidden} units")
    together = np.concatenate([arrays[f"W_{gate}"] for gate in GATES])  # (5 h, columns)
    x, *states = np.split(together, [inputs + k * hidden for k in range((columns - inputs) // hidden)], axis=1)
    found = {
        f"weight_ih_l{place}": x,
        f"weight_hh_l{place}": np.concatenate([states[1], states[0]], axis=1),
        f"bias_l{place}": np.concatenate([arrays[f"b_{gate}"] for gate in GATES]),
    }
    if extended:
        found[f"weight_ch_l{place}"] = np.concatenate([states[3], states[2]], axis=1)
    return found
