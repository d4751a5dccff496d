"""PixelRNN of van den Oord, Kalchbrenner & Kavukcuoglu, 2016."""

from __future__ import annotations

from spatial_lstm.image_models.pixelrnn.masked import MaskedConv2d
from spatial_lstm.image_models.pixelrnn.model import PixelRNN

__all__ = ["MaskedConv2d", "PixelRNN"]
