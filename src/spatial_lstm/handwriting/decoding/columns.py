"""What decoders take: log-probabilities of the classes, column by column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
# As a network or another program has them.
Columns = Tensor | NDArray[np.floating]


def log_probabilities(columns: Columns) -> Floats:
    """The same in float64, each column summing to one.

    Args:
        columns: Log-probabilities ``(T, classes)`` of a line's own columns, T at least 1.

    Raises:
        ValueError: If the shape does not fit, or they are no log-probabilities.
    """
    array = columns.detach().cpu().double().numpy() if isinstance(columns, Tensor) else columns
    values = np.asarray(array, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] < 2:
        raise ValueError(f"expected log-probabilities of shape (T, classes), got {values.shape}")
    with np.errstate(over="ignore", divide="ignore"):
        total: Floats = np.log(np.exp(values).sum(1, keepdims=True))
    # What float16 rounds is 1e-3 for each class.
    if not np.abs(total).max() < 0.1:
        raise ValueError(f"expected log-probabilities that sum to one in every column, got {np.exp(total).ravel()[:8]}")
    return values - total
