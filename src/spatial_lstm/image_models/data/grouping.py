"""Neighbors of one shape, to be worked on together: sixty thousand small images take long one by one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Protocol, TypeVar

# Values that are looked at together, so that what is made of them on the way stays small.
AT_ONCE = 1 << 22


class Shaped(Protocol):
    """An array or a tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its extents."""


T = TypeVar("T", bound=Shaped)


def alike(items: Iterable[T], at_once: int = AT_ONCE) -> Iterator[list[T]]:
    """Runs of items of one shape, in order, of at most so many values unless a single item has more."""
    for shape, group in groupby(items, key=lambda item: item.shape):
        run = list(group)
        step = max(1, at_once // max(1, math.prod(shape)))
        for start in range(0, len(run), step):
            yield run[start : start + step]
