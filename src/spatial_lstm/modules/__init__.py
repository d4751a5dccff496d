"""The layer and the single site as modules."""

from __future__ import annotations

from spatial_lstm.modules.cell import SpatialLSTMCell
from spatial_lstm.modules.layer import SpatialLSTM
from spatial_lstm.modules.output_only import OutputOnly

__all__ = ["OutputOnly", "SpatialLSTM", "SpatialLSTMCell"]
