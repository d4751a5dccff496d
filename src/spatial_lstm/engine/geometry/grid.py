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

    Attributes:
        batch, extents, directions: As given.
        own: ``(N, n)``, the sizes; None when all images fill the batch.
        raster_rows: R, the sites of the batch, padding included.
        face_rows: F, rows of the flattened faces, padding included.
        sites: M, the existing sites per direction.
        edges: E, the existing near-face entries per direction, and as many far ones.
        reverse: For each direction a number whose bit k is set where axis k is read backwards.

    Raises:
        ValueError: If a size is out of range, or the batch has too many sites to be numbered.
    """

    __slots__ = ("batch", "directions", "edges", "extents", "face_rows", "own", "raster_rows", "reverse", "sites")

    def __init__(
        self,
        batch: int,
        extents: Sequence[int],
        directions: Sequence[str],
        sizes: Sequence[Sequence[int]] | None = None,
    ) -> None:
        # While a program is traced, numbers may be symbols.
        self.batch, self.extents, self.directions = int(batch), tuple(map(int, extents)), tuple(directions)
        self.reverse = [sum(1 << k for k, letter in enumerate(each) if letter == "r") for each in self.directions]
        self.raster_rows = self.batch * math.prod(self.extents)
        self.face_rows = sum(self.raster_rows // extent for extent in self.extents)
        rows = max(self.raster_rows, self.face_rows)
        if rows > MOST_ROWS:
            raise ValueError(f"expected at most {MOST_ROWS} sites in a batch, got {rows}")
        self.own: npt.NDArray[np.int64] | None = None
        self.sites, self.edges = self.raster_rows, self.face_rows
        if sizes is not None:
            self.own = own = np.array(sizes, dtype=np.int64).reshape(self.batch, len(self.extents))
            if (own < 1).any() or (own > self.extents).any():
                raise ValueError(f"expected sizes from 1 to the batch's extents {self.extents}, got {own.tolist()}")
            sites = own.prod(axis=1)
            self.sites, self.edges = int(sites.sum()), int((sites[:, None] // own).sum())

    @property
    def axes(self) -> int:
        """N."""
        return len(self.extents)

    @property
    def key(self) -> tuple[object, ...]:
        """What tells grids apart."""
        return self.batch, self.extents, self.directions, None if self.own is None else self.own.tobytes()
