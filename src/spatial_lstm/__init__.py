"""The LSTM for grids: state flows along every axis of an image, a volume or a sequence.

The layer is :class:`SpatialLSTM`; :class:`SpatialLSTMCell` computes one site; :class:`SizedSequential` is a network of layers for images of
different sizes; :func:`stream` runs a layer over a field on disk; :mod:`spatial_lstm.functional` has the layer without parameters;
:mod:`spatial_lstm.reference` is the specification, in NumPy. ``python -m spatial_lstm --help`` lists the commands.
"""

from __future__ import annotations

from spatial_lstm import functional, reference
from spatial_lstm.engine import backends, clear_cache
from spatial_lstm.modules import OutputOnly, SizedModule, SizedSequential, SpatialLSTM, SpatialLSTMCell
from spatial_lstm.state import State
from spatial_lstm.streaming import stream

__version__ = "0.2.0"

__all__ = [
    "OutputOnly",
    "SizedModule",
    "SizedSequential",
    "SpatialLSTM",
    "SpatialLSTMCell",
    "State",
    "__version__",
    "backends",
    "clear_cache",
    "functional",
    "reference",
    "stream",
]
