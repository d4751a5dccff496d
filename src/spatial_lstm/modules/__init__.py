"""The layer and the single site as modules, and networks for ragged batches."""

from __future__ import annotations

from spatial_lstm.modules.cell import SpatialLSTMCell
from spatial_lstm.modules.layer import SpatialLSTM
from spatial_lstm.modules.output_only import OutputOnly
from spatial_lstm.modules.sized import SizedModule, SizedSequential

__all__ = ["OutputOnly", "SizedModule", "SizedSequential", "SpatialLSTM", "SpatialLSTMCell"]
