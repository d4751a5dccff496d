"""What was read in a line, and how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spatial_lstm.handwriting.decoding.alignment import align
from spatial_lstm.handwriting.decoding.columns import Columns, log_probabilities
from spatial_lstm.handwriting.decoding.decoders import Decoder


@dataclass(frozen=True)
class Reading:
    """What was read in a line.

    Attributes:
        labels: The classes of its characters.
        log_prob: The network's probability of just this text, all its paths together, among all texts, in nats. A character model
            has no part in it.
        confidence: The same for each character, from 0 to 1: the geometric mean over the characters, ``exp(log_prob / characters)``.
        characters: For each character, the largest probability of its class in the columns where it stands, from 0 to 1.
        spans: First column and the one after the last of each character, where the network saw it: often but one in the middle of it.
    """

    labels: tuple[int, ...]
    log_prob: float
    confidence: float
    characters: tuple[float, ...]
    spans: tuple[tuple[int, int], ...]


def read_columns(log_probs: Columns, decoder: Decoder) -> Reading:
    """Read a line.

    Args:
        log_probs: ``(T, classes)``, T at least 1, of this line's own columns.
        decoder: Which text to take.

    Raises:
        ValueError: If the shape does not fit, or they are no log-probabilities.
    """
    values = log_probabilities(log_probs)
    labels = decoder(values)
    log_prob, spans = align(values, labels)
    confidence = math.exp(log_prob / max(1, len(labels)))
    characters = tuple(
        math.exp(float(values[start:stop, label].max())) for label, (start, stop) in zip(labels, spans, strict=True)
    )
    return Reading(labels, log_prob, min(1.0, confidence), characters, spans)
