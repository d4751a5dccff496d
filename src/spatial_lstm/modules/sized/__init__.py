"""Ragged batches through whole networks: layers that take and return ``(x, sizes)``, each image's own extent with the padded batch."""

from __future__ import annotations

from spatial_lstm.modules.sized.module import SizedModule
from spatial_lstm.modules.sized.sequential import SizedSequential

__all__ = ["SizedModule", "SizedSequential"]
