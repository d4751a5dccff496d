r"""Where everything lies, without tables: row numbers by arithmetic on ranges, for sizes that may be unknown while a program is traced.

In canonical coordinates q (see :mod:`spatial_lstm.engine.geometry`) site q belongs to step :math:`s = q_0 + \dots + q_{n-1}`. So at every
step each row :math:`(q_0, \dots, q_{n-2})` of the *plane* of all axes but the last has at most one site, the one at
:math:`q_{n-1} = s - q_0 - \dots - q_{n-2}`: the grid is skewed until its diagonals stand upright.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spatial_lstm.engine.geometry.grid import face_positions

NOWHERE = -1  # the row of what does not exist


@dataclass(frozen=True)
class Skew:
    """Row numbers between the layouts that users see and the *places* ``(steps, D, N, *plane)`` of the skewed grid.

    Attributes:
        batch: N.
        extents: S, the n spatial extents of the batch.
        directions: D strings of ``f`` and ``r``.
        sizes: ``(N, n)``, each image's own extents; None when all fill the batch.
        device: Where row numbers are computed.
    """

    batch: int
    extents: Sequence[int]
    directions: Sequence[str]
    sizes: Tensor | None
    device: torch.device

    @property
    def steps(self) -> int:
        """Number of diagonals."""
        return sum(self.extents) - len(self.extents) + 1

    @property
    def last(self) -> int:
        """The last axis."""
        return len(self.extents) - 1

    @property
    def plane(self) -> tuple[int, ...]:
        """All extents but the last."""
        return tuple(self.extents[:-1])

    def sites(self) -> Tensor:
        """``(steps, D, N, *plane)``, the row of each place's site in an input of ``N * S`` rows."""
        s, d, image, *q = self._ranges(self.steps, len(self.directions), self.batch, *self.plane)
        q = [*q, s - sum(q)]
        rows = _raster([image, *self._flip(q, image, d)], self.extents)
        return self._existing(rows, dict(enumerate(q)), image, ranging=self.last)

    def output(self) -> Tensor:
        """``(N, *S, D)``, the place of each site, in every direction."""
        image, *p, d = self._ranges(self.batch, *self.extents, len(self.directions))
        return self._existing(self._place(self._flip(p, image, d), image, d), dict(enumerate(p)), image)

    def near_face(self, axis: int) -> Tensor:
        """The near-face entry along one axis that each place on that face reads, as a row of the ``(D, F)`` flattened faces.

        ``(D, N, *plane)`` for the last axis, whose entry each row of the plane reads at its first site; for any other axis
        ``(steps, D, N, *plane)`` with 1 instead of that axis' extent.
        """
        plane = [1 if k == axis else extent for k, extent in enumerate(self.plane)]
        steps = 1 if axis == self.last else self.steps
        s, d, image, *q = self._ranges(steps, len(self.directions), self.batch, *plane)
        q = [*q, s - sum(q)]
        inside = {k: at for k, at in enumerate(q) if k != axis}
        p, starts = self._flip(q, image, d), face_positions(self.batch, self.extents)
        slot = starts[axis] + _raster([image, *(p[k] for k in inside)], [self.extents[k] for k in inside])
        rows = self._existing(d * starts[-1] + slot, inside, image, ranging=self.last)
        return rows.squeeze(0) if axis == self.last else rows

    def far_faces(self) -> Tensor:
        """``(D, F)``, the place of each slot of the flattened far faces."""
        return torch.cat([self._far_face(axis) for axis in range(len(self.extents))], dim=1)

    def _far_face(self, axis: int) -> Tensor:
        face = [1 if k == axis else extent for k, extent in enumerate(self.extents)]
        d, image, *p = self._ranges(len(self.directions), self.batch, *face)
        q = self._flip(p, image, d)
        q[axis] = p[axis] + self._extent(axis, image) - 1
        inside = {k: at for k, at in enumerate(p) if k != axis}
        return self._existing(self._place(q, image, d), inside, image).flatten(1)

    def _ranges(self, *lengths: int) -> list[Tensor]:
        """One range for each length, each along its own dimension, so that they broadcast to all combinations."""
        return [
            torch.arange(length, device=self.device).view([-1 if at == k else 1 for at in range(len(lengths))])
            for k, length in enumerate(lengths)
        ]

    def _extent(self, axis: int, image: Tensor) -> Tensor | int:
        """Each image's own extent along an axis."""
        return self.extents[axis] if self.sizes is None else self.sizes[:, axis].view(image.shape)

    def _flip(self, q: Sequence[Tensor], image: Tensor, d: Tensor) -> list[Tensor]:
        """Canonical coordinates to those of pixels, or back."""
        flipped = list(q)
        for k, at in enumerate(q):
            reverse = [direction[k] == "r" for direction in self.directions]
            if any(reverse):
                letters = torch.tensor(reverse, device=self.device).view(d.shape)
                flipped[k] = torch.where(letters, self._extent(k, image) - 1 - at, at)
        return flipped

    def _place(self, q: Sequence[Tensor], image: Tensor, d: Tensor) -> Tensor:
        """The place of site q."""
        return _raster([sum(q[1:], q[0]), d, image, *q[:-1]], [len(self.directions), self.batch, *self.plane])

    def _existing(
        self, rows: Tensor, coordinates: dict[int, Tensor], image: Tensor, ranging: int | None = None
    ) -> Tensor:
        """``rows`` where every coordinate, by its axis, lies within its image; elsewhere :data:`NOWHERE`.

        All coordinates lie within the batch's extents but the one of axis ``ranging``.
        """
        for axis, at in coordinates.items():
            if axis == ranging:
                rows = torch.where(at >= 0, rows, NOWHERE)
            if axis == ranging or self.sizes is not None:
                rows = torch.where(at < self._extent(axis, image), rows, NOWHERE)
        return rows


def _raster(coordinates: Sequence[Tensor], extents: Sequence[int]) -> Tensor:
    """Row number of coordinates in raster order; the first has no extent."""
    row = coordinates[0]
    for at, extent in zip(coordinates[1:], extents, strict=True):
        row = row * extent + at
    return row
