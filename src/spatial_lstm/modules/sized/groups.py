"""Which images are computed together where a layer takes padded batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# The least sites that a cut has to save: a layer computes nothing of the padding, but moves it, and takes the steps of each part. Measured
# in the reader of handwriting: words apart from lines are faster through its layer on images, and slower through that on columns.
WORTHWHILE = 4_000


def similar(sizes: Sequence[Sequence[int]], worthwhile: int) -> list[list[int]]:
    """The images of sizes ``(N, n)`` in groups, each in order, of which none would save so many sites by a cut in two."""
    own = np.array(sizes)
    order = own.prod(1).argsort(kind="stable")
    return [sorted(group) for group in _cut(order.tolist(), own[order], worthwhile)]


def _cut(places: list[int], sizes: np.ndarray, worthwhile: int) -> list[list[int]]:
    """One group, or those of its two parts where the best cut saves enough."""
    count = np.arange(1, len(places) + 1)
    below = np.maximum.accumulate(sizes).prod(1) * count  # sites of the first 1, 2, .. images, with padding
    above = np.maximum.accumulate(sizes[::-1]).prod(1) * count
    sites = below[:-1] + above[-2::-1]
    if not len(sites) or sites.min() > below[-1] - worthwhile:
        return [places]
    at = int(sites.argmin()) + 1
    return _cut(places[:at], sizes[:at], worthwhile) + _cut(places[at:], sizes[at:], worthwhile)
