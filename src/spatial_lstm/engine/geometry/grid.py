"""A batch of grids, and the directions it is read in."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# Kernels number rows in 32 bits.
MOST_ROWS = 2**31 - 1


def face_positions(batch: int, extents: Sequence[int]) -> list[int]:
    """Where each axis' face starts when faces ``(N, *S without k)`` are flattened one after the other; the last entry is the total."""
    starts = [0]
    for axis in range(len(extents)):
        starts.append(starts[-1] + batch * math.prod(extents[:axis]) * math.prod(extents[axis + 1 :]))
    return starts


class Grid:
    """All that follows from shapes by arithmetic alone; see :class:`~spatial_lstm.engine.geometry.plan.Plan` for what takes tables.

    Args:
        batch: N, at least 1.
        extents: The n spatial extents of the (padded) batch.
        directions: D strings of ``f`` and ``r``, one letter per axis.
        sizes: Each image's own n extents; None when all fill the batch.
        idle: Axes of extent 1, not all of them, along which no state comes: the grid is one of the others.

    Attributes:
        batch, extents, directions: As given, without the idle axes; so is n from here on.
        own: ``(N, n)``, the sizes; None when all images fill the batch.
        raster_rows: R, the sites of the batch, padding included.
        face_rows: F, rows of the flattened faces, padding and those of idle axes included.
        starts: Where each axis' face starts in them.
        idle_starts: Where each idle axis' face starts, which shows all raster rows.
        sites: M, the existing sites per direction.
        edges: E, the existing near-face entries per direction, and as many far ones.
        reverse: For each direction a number whose bit k is set where axis k is read backwards.
        addresses: Where extents, ``reverse``, ``starts`` and then ``idle_starts``, and ``own``, 0 for None, lie in memory, all int64.

    Raises:
        ValueError: If a size is out of range, or the batch has too many sites to be numbered.
    """

    __slots__ = (
        "_arrays",
        "addresses",
        "batch",
        "directions",
        "edges",
        "extents",
        "face_rows",
        "idle_starts",
        "own",
        "raster_rows",
        "reverse",
        "sites",
        "starts",
    )

    def __init__(
        self,
        batch: int,
        extents: Sequence[int],
        directions: Sequence[str],
        sizes: Sequence[Sequence[int]] | None = None,
        idle: Sequence[int] = (),
    ) -> None:
        # While a program is traced, numbers may be symbols.
        self.batch, given = int(batch), tuple(map(int, extents))
        *starts, self.face_rows = face_positions(self.batch, given)
        walked = [axis for axis in range(len(given)) if axis not in idle]
        self.extents = tuple(given[axis] for axis in walked)
        self.directions = tuple("".join(each[axis] for axis in walked) for each in directions)
        self.starts, self.idle_starts = tuple(starts[axis] for axis in walked), tuple(starts[axis] for axis in idle)
        self.reverse = [sum(1 << k for k, letter in enumerate(each) if letter == "r") for each in self.directions]
        self.raster_rows = self.batch * math.prod(self.extents)
        rows = max(self.raster_rows, self.face_rows)
        if rows > MOST_ROWS:
            raise ValueError(f"expected at most {MOST_ROWS} sites in a batch, got {rows}")
        self.own: npt.NDArray[np.int64] | None = None
        self.sites = self.raster_rows
        self.edges = self.face_rows - len(idle) * self.raster_rows
        if sizes is not None:
            own = np.array(sizes, dtype=np.int64).reshape(self.batch, len(given))
            if (own < 1).any() or (own > given).any():
                raise ValueError(f"expected sizes from 1 to the batch's extents {given}, got {own.tolist()}")
            self.own = own = np.ascontiguousarray(own[:, walked])
            sites = own.prod(axis=1)
            self.sites, self.edges = int(sites.sum()), int((sites[:, None] // own).sum())
        numbers = self.extents, self.reverse, (*self.starts, *self.idle_starts)
        self._arrays = [*(np.array(each, dtype=np.int64) for each in numbers), self.own]
        self.addresses = tuple(0 if array is None else array.ctypes.data for array in self._arrays)

    @property
    def axes(self) -> int:
        """N."""
        return len(self.extents)

    @property
    def padded(self) -> bool:
        """Whether some raster rows, and so some rows of faces, are beyond an image's own extents."""
        return self.sites < self.raster_rows

    @property
    def key(self) -> tuple[object, ...]:
        """What tells grids apart."""
        own = None if self.own is None else self.own.tobytes()
        return self.batch, self.extents, self.directions, self.starts, self.idle_starts, own
