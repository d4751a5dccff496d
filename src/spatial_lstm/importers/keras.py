"""From the LSTM of Keras.

Layout, after keras-team/keras, ``keras/src/layers/rnn/lstm.py`` and ``bidirectional.py``: a kernel ``(C, 4 h)`` and a recurrent kernel
``(h, 4 h)``, multiplied from the right, and a bias ``(4 h,)``; gates i, f, c, o, of which c is the g here. A ``Bidirectional`` has the
forward layer's arrays, then the backward layer's.
"""

from __future__ import annotations

from collections.abc import Iterable

from spatial_lstm import SpatialLSTM
from spatial_lstm.arguments import kind
from spatial_lstm.importers.arrays import Array, as_array, check_shape, common_dtype, fill

# How many arrays there are: in how many directions, and whether with biases.
COUNTS = {2: (1, False), 3: (1, True), 4: (2, False), 6: (2, True)}


def from_keras(weights: Iterable[object], *, merge: str = "concat", channels_last: bool = True) -> SpatialLSTM:
    """Return the layer that computes what an ``LSTM`` of Keras computes, or a ``Bidirectional`` one.

    Activations have to be Keras' own defaults, tanh and sigmoid, which its arrays do not tell: a layer of Keras 1, or one with
    ``recurrent_activation="hard_sigmoid"`` or ``go_backwards=True``, computes something else.

    Args:
        weights: As ``layer.get_weights()`` returns them: kernel, recurrent kernel and, unless ``use_bias=False``, bias; twice as many of a
            ``Bidirectional``. In a file ``.weights.h5`` they are the arrays 0, 1 and 2 of the layer's group ``cell/vars``.
        merge: Of a ``Bidirectional``: ``"concat"``, ``"sum"``, or ``"mean"``, which it calls ``"ave"``.
        channels_last: True for input ``(N, L, C)`` as in Keras, False for ``(N, C, L)``.

    Raises:
        ValueError: If the arrays are not as many, or their shapes do not fit.
        TypeError: If these are no arrays, or one is not of floating point numbers.
    """
    if not isinstance(weights, Iterable):
        raise TypeError(f"expected weights to be arrays, as layer.get_weights() returns them, got {kind(weights)}")
    weights = list(weights)
    if len(weights) not in COUNTS:
        raise ValueError(f"expected 2 or 3 arrays of an LSTM, or 4 or 6 of a bidirectional one, got {len(weights)}")
    directions, bias = COUNTS[len(weights)]
    each = len(weights) // directions
    arrays = [as_array(f"weights[{place}]", value) for place, value in enumerate(weights)]
    inputs, hidden = _sizes(arrays[0])
    layer = SpatialLSTM(
        inputs,
        hidden,
        bias=bias,
        channels_last=channels_last,
        directions="all" if directions == 2 else None,
        spatial_dims=1,
        cell="graves",
        merge=merge,
        dtype=common_dtype(arrays),
    )
    found: dict[str, Array] = {}
    for place, suffix in enumerate(("", "_reverse")[:directions]):
        own = arrays[place * each : (place + 1) * each]
        shapes = ((inputs, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,))
        for name, array, shape in zip(("kernel", "recurrent kernel", "bias"), own, shapes, strict=False):
            check_shape(name, array, shape, f"of {inputs} inputs and {hidden} units")
        names = [f"{name}_l0{suffix}" for name in ("weight_ih", "weight_hh", "bias")]
        found |= {name: array.T for name, array in zip(names, own, strict=False)}
    return fill(layer, found)


def _sizes(kernel: Array) -> tuple[int, int]:
    """Inputs and units, by the shape of a kernel."""
    if kernel.ndim != 2 or not kernel.size or kernel.shape[1] % 4:
        raise ValueError(f"expected a kernel of shape (inputs, 4 * units), got {kernel.shape}")
    return kernel.shape[0], kernel.shape[1] // 4
