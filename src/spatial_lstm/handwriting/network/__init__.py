"""From the pixels of a line to probabilities of characters, and what is learnt from."""

from __future__ import annotations

from spatial_lstm.handwriting.network.architectures import ARCHITECTURES
from spatial_lstm.handwriting.network.ctc import columns_needed
from spatial_lstm.handwriting.network.recognizer import HandwritingRecognizer

__all__ = ["ARCHITECTURES", "HandwritingRecognizer", "columns_needed"]
