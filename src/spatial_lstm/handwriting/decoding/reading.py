"""What was read in a line, and how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from spatial_lstm.handwriting.decoding.alignment import align
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


def read_columns(log_probs: Tensor | NDArray[np.floating], decoder: Decoder) -> Reading:
    """Read a line.

    Args:
        log_probs: ``(T, classes)``, T at least 1, of this line's own columns.
        decoder: Which text to take.

    Raises:
        ValueError: If the shape does not fit, or they are no log-probabilities.
    """
    values = _values(log_probs)
    labels = decoder(values)
    log_prob, spans = align(values, labels)
    confidence = math.exp(log_prob / max(1, len(labels)))
    characters = tuple(
        math.exp(float(values[start:stop, label].max())) for label, (start, stop) in zip(labels, spans, strict=True)
    )
    return Reading(labels, log_prob, min(1.0, confidence), characters, spans)


def _values(log_probs: Tensor | NDArray[np.floating]) -> NDArray[np.float64]:
    """The same in float64, each column summing to one."""
    array = log_probs.detach().cpu().double().numpy() if isinstance(log_probs, Tensor) else log_probs
    values = np.asarray(array, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] < 2:
        raise ValueError(f"expected log-probabilities of shape (T, classes), got {values.shape}")
    with np.errstate(invalid="ignore"):
        total = np.logaddexp.reduce(values, axis=1, keepdims=True)
    # What float16 rounds is 1e-3 for each class.
    if not np.abs(total).max() < 0.1:
        raise ValueError(f"expected log-probabilities that sum to one in every column, got {np.exp(total).ravel()[:8]}")
    return values - total
