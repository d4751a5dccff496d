"""Fields on disk through a layer, tile by tile."""

from __future__ import annotations

from spatial_lstm.streaming.stream import stream

__all__ = ["stream"]
