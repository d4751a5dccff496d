"""Pixels that were decoded, kept as far as they fit into a bound."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from spatial_lstm.arguments import check_positive_int
from spatial_lstm.handwriting.data.pictures import Gray
from spatial_lstm.shared import Shared

# Pages are 5 to 25 million pixels; of lines at a network's height a few thousand fit.
PAGES_MIB, LINES_MIB = 128, 512


class Cache(Shared):
    """The arrays asked for last, as many as fit; threads may share it, processes that it is sent to begin with an empty one.

    Args:
        mib: Bound on the arrays' bytes, in MiB. One array may exceed it, and is then kept alone.
    """

    def __init__(self, mib: int) -> None:
        check_positive_int("mib", mib)
        self.mib = mib
        super().__init__()

    def begin(self) -> None:
        self._arrays: OrderedDict[Hashable, Gray] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, make: Callable[[], Gray]) -> Gray:
        """The array of a key, made where it is not at hand; nobody may write into it."""
        with self.lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
                return self._arrays[key]
        made = make()
        made.setflags(write=False)
        with self.lock:
            self._bytes += made.nbytes - self._arrays[key].nbytes if key in self._arrays else made.nbytes
            self._arrays[key] = made
            while self._bytes > self.mib * 2**20 and len(self._arrays) > 1:
                self._bytes -= self._arrays.popitem(last=False)[1].nbytes
        return made

    def nbytes(self) -> int:
        """The bytes of the arrays that it holds."""
        return self._bytes

    def __reduce__(self) -> tuple[type[Cache], tuple[int]]:
        return Cache, (self.mib,)


@dataclass(frozen=True)
class Pictures:
    """What is decoded: whole pages, of which a few fit, and lines, of which many do."""

    pages: Cache = field(default_factory=lambda: Cache(PAGES_MIB))
    lines: Cache = field(default_factory=lambda: Cache(LINES_MIB))
