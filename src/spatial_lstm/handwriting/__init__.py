"""Handwriting recognition with multi-dimensional LSTMs, after Graves & Schmidhuber, 2009: pictures of lines and pages in, text out.

:class:`LineReader` opens a model file and reads. :class:`HandwritingRecognizer` is the network;
:mod:`spatial_lstm.handwriting.decoding` makes text of what it returns, :mod:`spatial_lstm.handwriting.data` reads lines and pages,
:mod:`spatial_lstm.handwriting.training` trains.
"""

from __future__ import annotations

from spatial_lstm.handwriting.codec import BLANK, Codec
from spatial_lstm.handwriting.metrics import Errors, Evaluation, Pair, count_errors, evaluate
from spatial_lstm.handwriting.network import ARCHITECTURES, HandwritingRecognizer, columns_needed
from spatial_lstm.handwriting.reader import LineReader, Transcription

__all__ = [
    "ARCHITECTURES",
    "BLANK",
    "Codec",
    "Errors",
    "Evaluation",
    "HandwritingRecognizer",
    "LineReader",
    "Pair",
    "Transcription",
    "columns_needed",
    "count_errors",
    "evaluate",
]
