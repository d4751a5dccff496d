"""Which text a line's probabilities are taken for."""

from __future__ import annotations

from itertools import groupby
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spatial_lstm.handwriting.codec import BLANK
from spatial_lstm.handwriting.decoding.columns import Columns, log_probabilities


class Decoder(Protocol):
    """Finds a text."""

    def __call__(self, log_probs: NDArray[np.float64], /) -> tuple[int, ...]:
        """Return the classes of its characters, from log-probabilities ``(T, classes)``."""


class Greedy:
    """The text of the most probable path: the best class of every column, repetitions and blanks taken out."""

    def __call__(self, log_probs: Columns, /) -> tuple[int, ...]:
        """Return the classes of its characters, from log-probabilities ``(T, classes)``.

        Raises:
            ValueError: If the shape does not fit, or they are no log-probabilities.
        """
        return tuple(int(label) for label, _ in groupby(log_probabilities(log_probs).argmax(1)) if label != BLANK)
