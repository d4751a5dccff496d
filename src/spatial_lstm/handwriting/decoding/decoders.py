"""Which text a line's probabilities are taken for."""

from __future__ import annotations

from itertools import groupby
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spatial_lstm.handwriting.codec import BLANK


class Decoder(Protocol):
    """Finds a text."""

    def __call__(self, log_probs: NDArray[np.float64], /) -> tuple[int, ...]:
        """Return the classes of its characters, from log-probabilities ``(T, classes)``."""


class Greedy:
    """The text of the most probable path: the best class of every column, repetitions and blanks taken out."""

    def __call__(self, log_probs: NDArray[np.float64], /) -> tuple[int, ...]:
        """Return the classes of its characters, from log-probabilities ``(T, classes)``."""
        return tuple(int(label) for label, _ in groupby(log_probs.argmax(1)) if label != BLANK)
