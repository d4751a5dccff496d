"""Layers with weights that other programs trained: Keras, rnn2d, RETURNN, and the released code of RIDE.

Each function takes arrays as the program itself lays them out, and returns a :class:`~spatial_lstm.SpatialLSTM` that computes the same.
What is known to compute something else is refused. For :class:`torch.nn.LSTM` there is :meth:`spatial_lstm.SpatialLSTM.from_lstm`.
"""

from __future__ import annotations

from spatial_lstm.importers.keras import from_keras
from spatial_lstm.importers.returnn import from_returnn
from spatial_lstm.importers.ride import from_ride
from spatial_lstm.importers.rnn2d import from_rnn2d

__all__ = ["from_keras", "from_returnn", "from_ride", "from_rnn2d"]
