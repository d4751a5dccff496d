"""A batch in parts of similar images, so that layers which do not know sizes compute little padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from spatial_lstm.modules.sized.padding import cleared, with_padding

# The least sites that a cut has to save: about as many as the calls of one more part cost in the reader of handwriting.
WORTHWHILE = 2000


def similar(sizes: Tensor) -> list[list[int]]:
    """The images of sizes ``(N, n)`` in groups, each of which leaves little padding when it is cut to its own extents; smallest first."""
    order = sizes.prod(1).argsort(stable=True)
    return _cut(order.tolist(), sizes[order].numpy()) if len(sizes) else [[]]


def _cut(places: list[int], sizes: np.ndarray) -> list[list[int]]:
    """One group, or those of its two parts where the best cut saves enough; both in order of size."""
    count = np.arange(1, len(places) + 1)
    below = np.maximum.accumulate(sizes).prod(1) * count  # sites of the first 1, 2, .. images, with padding
    above = np.maximum.accumulate(sizes[::-1]).prod(1) * count
    sites = below[:-1] + above[-2::-1]
    if not len(sites) or sites.min() > below[-1] - WORTHWHILE:
        return [places]
    at = int(sites.argmin()) + 1
    return _cut(places[:at], sizes[:at]) + _cut(places[at:], sizes[at:])


class Parts:
    """A batch ``(N, C, *S)``, whole or in parts, whatever a layer takes.

    Args:
        x: Whole; its images lie in the order of the groups.
        sizes: ``(N, n)``.
        counts: Images of each group.
    """

    def __init__(self, x: Tensor, sizes: Tensor, counts: Sequence[int]) -> None:
        self.tensors = [x]
        self.sizes = sizes
        self.counts = list(counts)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Each tensor with the sizes of its images."""
        whole = len(self.tensors) == 1
        return zip(self.tensors, [self.sizes] if whole else self.sizes.split(self.counts), strict=True)

    def take_apart(self) -> None:
        """Cut each group to its own extents."""
        if len(self.tensors) < len(self.counts):
            groups = self.tensors[0].split(self.counts), self.sizes.split(self.counts)
            self.tensors = [cropped(x, sizes) for x, sizes in zip(*groups, strict=True)]

    def put_together(self) -> None:
        """Make the batch whole again, zero where there was nothing."""
        if len(self.tensors) > 1:
            extents = self.sizes.amax(0).tolist()
            self.tensors = [with_padding(self.tensors, extents)]

    def clear(self) -> None:
        """Make what is beyond the images zero."""
        self.tensors = [cleared(x, sizes) for x, sizes in self]


def cropped(x: Tensor, sizes: Tensor) -> Tensor:
    """A batch without what is beyond all of its images."""
    for axis, extent in enumerate(sizes.amax(0).tolist() if len(sizes) else []):
        x = x.narrow(axis + 2, 0, extent)
    return x
