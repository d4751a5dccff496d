"""A batch in parts of similar images, so that layers which do not know sizes compute little padding."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from torch import Tensor

from spatial_lstm.modules.sized.padding import cleared, with_padding

# The least sites that a cut has to save: about as many as the calls of one more part cost in the reader of handwriting; and for layers that
# compute nothing of the padding, but have to move it, and go through the steps of each part.
WORTHWHILE, WORTHWHILE_SPARED = 2_000, 40_000


def similar(sizes: Tensor, worthwhile: int) -> list[list[int]]:
    """The images of sizes ``(N, n)`` in groups, smallest first, of which none would save so many sites by a cut in two.

    With less that is worthwhile they are parts of those with more.
    """
    order = sizes.prod(1).argsort(stable=True)
    return _cut(order.tolist(), sizes[order].numpy(), worthwhile) if len(sizes) else [[]]


def _cut(places: list[int], sizes: np.ndarray, worthwhile: int) -> list[list[int]]:
    """One group, or those of its two parts where the best cut saves enough; both in order of size."""
    count = np.arange(1, len(places) + 1)
    below = np.maximum.accumulate(sizes).prod(1) * count  # sites of the first 1, 2, .. images, with padding
    above = np.maximum.accumulate(sizes[::-1]).prod(1) * count
    sites = below[:-1] + above[-2::-1]
    if not len(sites) or sites.min() > below[-1] - worthwhile:
        return [places]
    at = int(sites.argmin()) + 1
    return _cut(places[:at], sizes[:at], worthwhile) + _cut(places[at:], sizes[at:], worthwhile)


class Parts:
    """A batch ``(N, C, *S)`` in groups of its images, each cut to its own extents.

    Args:
        x: Whole; its images lie in the order of the groups.
        sizes: ``(N, n)``.
    """

    def __init__(self, x: Tensor, sizes: Tensor) -> None:
        self.tensors = [x]
        self.sizes = sizes

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Each tensor with the sizes of its images."""
        return zip(self.tensors, self.sizes.split([len(x) for x in self.tensors]), strict=True)

    def regroup(self, counts: list[int]) -> None:
        """Take groups apart or put some together, until they have so many images each; what is added is zero."""
        if len(counts) > len(self.tensors):
            each = iter(counts)
            self.tensors = [part for x in self.tensors for part in x.split(_adding_up(each, len(x)))]
            self.tensors = [cropped(x, sizes) for x, sizes in self]
        elif len(counts) < len(self.tensors):
            each, parts = iter([len(x) for x in self.tensors]), iter(self.tensors)
            joined = [list(islice(parts, len(_adding_up(each, count)))) for count in counts]
            sizes = self.sizes.split(counts)
            self.tensors = [with_padding(x, own.amax(0).tolist()) for x, own in zip(joined, sizes, strict=True)]

    def clear(self) -> None:
        """Make what is beyond the images zero."""
        self.tensors = [cleared(x, sizes) for x, sizes in self]


def _adding_up(counts: Iterator[int], total: int) -> list[int]:
    """The next counts that make a total."""
    found: list[int] = []
    while sum(found) < total:
        found.append(next(counts))
    return found


def cropped(x: Tensor, sizes: Tensor) -> Tensor:
    """A batch without what is beyond all of its images."""
    for axis, extent in enumerate(sizes.amax(0).tolist() if len(sizes) else []):
        x = x.narrow(axis + 2, 0, extent)
    return x
