"""Where the characters of a text stand in the columns, and how probable the text is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spatial_lstm.arguments import as_int
from spatial_lstm.handwriting.codec import BLANK
from spatial_lstm.handwriting.decoding.columns import Columns, Floats, log_probabilities


class Alignment(NamedTuple):
    """A text in the columns of a line.

    Attributes:
        log_prob: The probability of the text, all its paths together, in nats.
        spans: First column and the one after the last of each character, on the most probable path.
    """

    log_prob: float
    spans: tuple[tuple[int, int], ...]


def align(log_probs: Columns, labels: Sequence[int]) -> Alignment:
    """Find a text in a line.

    Args:
        log_probs: ``(T, classes)``, T at least 1, of this line's own columns.
        labels: The classes of its characters, from 1.

    Raises:
        ValueError: If the shape does not fit, they are no log-probabilities, there is no such class, or the columns are too few for the
            text.
        TypeError: If a label is no int.
    """
    values = log_probabilities(log_probs)
    states = np.full(2 * len(labels) + 1, BLANK)
    states[1::2] = _checked(labels, values.shape[1])
    # A path may go from one character to the next without the blank between them, if they differ.
    skips = np.zeros(len(states), dtype=bool)
    skips[3::2] = states[3::2] != states[1:-2:2]
    emitted = values[:, states]  # (T, 2L + 1)
    total, best = (np.full(len(states), -np.inf) for _ in range(2))
    total[:2] = best[:2] = emitted[0, :2]
    came = np.zeros(emitted.shape, dtype=np.int64)
    for column in range(1, len(emitted)):
        total = np.logaddexp.reduce(_predecessors(total, skips)) + emitted[column]
        before = _predecessors(best, skips)
        came[column] = before.argmax(0)
        best = before.max(0) + emitted[column]
    log_prob = float(np.logaddexp.reduce(total[-2:]))
    if not np.isfinite(log_prob):
        raise ValueError(f"expected columns enough for {len(labels)} characters, got {len(emitted)}")
    last = len(states) - 1 if len(states) == 1 or best[-1] > best[-2] else len(states) - 2
    return Alignment(log_prob, _spans(came, last, len(labels)))


def _checked(labels: Sequence[int], classes: int) -> list[int]:
    found = [as_int("labels", label) for label in labels]
    if wrong := [label for label in found if not BLANK < label < classes]:
        raise ValueError(f"expected labels from 1 to {classes - 1}, got {wrong[0]}")
    return found


def _predecessors(values: Floats, skips: NDArray[np.bool_]) -> Floats:
    """For every state what it, the one before and the one before that have, ``(3, S)``."""
    found = np.full((3, len(values)), -np.inf)
    found[0] = values
    found[1, 1:] = values[:-1]
    found[2, 2:] = np.where(skips[2:], values[:-2], -np.inf)
    return found


def _spans(came: NDArray[np.int64], state: int, characters: int) -> tuple[tuple[int, int], ...]:
    """The columns of each character on the path that ends in a state, ``came`` saying how many states it rose by in each."""
    starts, stops = [0] * characters, [0] * characters
    for column in range(len(came) - 1, -1, -1):
        if state % 2:
            starts[state // 2] = column
            stops[state // 2] = max(stops[state // 2], column + 1)
        state -= int(came[column, state])
    return tuple(zip(starts, stops, strict=True))
