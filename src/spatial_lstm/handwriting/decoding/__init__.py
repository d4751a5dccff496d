"""From probabilities, column by column, to text."""

from __future__ import annotations

from spatial_lstm.handwriting.decoding.alignment import Alignment, align
from spatial_lstm.handwriting.decoding.beam import BeamSearch
from spatial_lstm.handwriting.decoding.decoders import Decoder, Greedy
from spatial_lstm.handwriting.decoding.language import Language
from spatial_lstm.handwriting.decoding.ngram import NGram
from spatial_lstm.handwriting.decoding.reading import Reading, read_columns
from spatial_lstm.handwriting.decoding.weighting import Weighting, best_weighting

__all__ = [
    "Alignment",
    "BeamSearch",
    "Decoder",
    "Greedy",
    "Language",
    "NGram",
    "Reading",
    "Weighting",
    "align",
    "best_weighting",
    "read_columns",
]
