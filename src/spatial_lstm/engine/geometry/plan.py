"""The index tables of one batch of grids."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


@contextmanager
def ordinary_tensors() -> Iterator[None]:
    """Make tensors that may be kept, even within inference mode or a ``torch.func`` transform, which would wrap its own around them.

    Uses a private name of torch; a test fails should it go.
    """
    with torch.inference_mode(False), torch._C._DisableFuncTorch():
        yield


class derived(Generic[T]):
    """A cached property whose tensors serve training wherever they were first asked for.

    Threads may compute it twice. Before Python 3.12 :func:`functools.cached_property` has a lock, which a child that is forked meanwhile
    would wait for without end.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self.compute, self.__doc__ = compute, compute.__doc__

    def __get__(self, owner: Any, kind: type | None = None) -> T:
        with ordinary_tensors():
            found = self.compute(owner)
        owner.__dict__[self.compute.__name__] = found  # which is asked from then on
        return found


@dataclass(frozen=True, eq=False)
class Plan:
    """Index tables of one batch of grids; see :func:`~spatial_lstm.engine.geometry.build.make_plan`.

    With n axes, D directions, M existing sites per direction, R raster rows (padding included), E near-face entries and E' far-face
    entries, M more for every idle axis:

    Attributes:
        offsets: Step s occupies the packed rows ``offsets[s]:offsets[s + 1]``.
        edge_offsets: The same for the near-face entries that step s reads.
        site: ``(D, M)``, raster row of each packed row.
        pred: ``(M, n)``, state-table row of the predecessor along each axis; ``M + e`` for near-face entry e.
        succ: ``(M, n)``, packed row of the successor along each axis; ``-1 - e`` for far-face entry e, beyond which there is none.
        edge: ``(E,)``, the ``row * n + axis`` that reads near-face entry e.
        near: ``(D, E)``, position of near-face entry e in the flattened faces: :func:`~spatial_lstm.engine.geometry.grid.face_positions`.
        far: ``(E',)``, packed rows of the far-face entries, all of axis 0 first, then axis 1 .., then those of idle axes; ``far_counts``
            says how many of each.
        far_slot: ``(D, E')``, position of each far-face entry in the flattened faces.
        raster_rows: R.
        face_rows: Rows of the flattened faces, padding included.
    """

    offsets: tuple[int, ...]
    edge_offsets: tuple[int, ...]
    site: Tensor
    pred: Tensor
    succ: Tensor
    edge: Tensor
    near: Tensor
    far: Tensor
    far_slot: Tensor
    far_counts: tuple[int, ...]
    raster_rows: int
    face_rows: int

    @property
    def sites(self) -> int:
        """M, the number of existing sites per direction."""
        return self.offsets[-1]

    @property
    def steps(self) -> int:
        """Number of wavefront steps."""
        return len(self.offsets) - 1

    @property
    def axes(self) -> int:
        """n, the number of spatial axes."""
        return self.pred.shape[1]

    @property
    def edges(self) -> int:
        """E, the number of near-face entries per direction."""
        return self.edge_offsets[-1]

    @property
    def images(self) -> int:
        """N: the first step has one site of every image."""
        return self.offsets[1]

    @property
    def most_bytes(self) -> int:
        """What all tables take, in bytes, at most: those that may yet be derived included."""
        d, n, index = self.directions, self.axes, 8
        sites = self.sites * (3 * d + 4 * n) + self.raster_rows * (3 * d + 1)
        faces = self.edges * (2 * d + 3) + sum(self.far_counts) * (4 * d + 1) + self.face_rows * (2 * d + 1)
        return index * (sites + faces + self.steps * (self.images + 8))

    @derived
    def image_bounds(self) -> Tensor:
        """``(steps * N + 1,)``: image i's sites of step s are those from ``image_bounds[s * N + i]`` up to the next entry."""
        image = self.site[0] // (self.raster_rows // self.images)
        rows = torch.arange(self.sites, device=image.device)
        step = torch.searchsorted(torch.tensor(self.offsets[1:], device=image.device), rows, right=True)
        bounds = torch.arange(self.steps * self.images + 1, device=image.device)
        return torch.searchsorted(step * self.images + image, bounds)

    @derived
    def block_sizes(self) -> list[int]:
        """Sites in each step."""
        return [b - a for a, b in zip(self.offsets, self.offsets[1:], strict=False)]

    @derived
    def edge_sizes(self) -> list[int]:
        """Near-face entries that each step reads."""
        return [b - a for a, b in zip(self.edge_offsets, self.edge_offsets[1:], strict=False)]

    @property
    def directions(self) -> int:
        """Number of directions, D."""
        return self.site.shape[0]

    @property
    def table_rows(self) -> int:
        """P = M + E, the rows of a state table."""
        return self.sites + self.edges

    @derived
    def inverse(self) -> Tensor:
        """``(D, R)``, packed row of each raster row; 0 where there is only padding."""
        rows = torch.arange(self.sites, device=self.site.device).expand_as(self.site)
        return self.site.new_zeros((self.directions, self.raster_rows)).scatter_(1, self.site, rows)

    @derived
    def padding(self) -> Tensor | None:
        """``(R,)``, true at raster rows beyond an image's extents; None where there are none."""
        if self.sites == self.raster_rows:
            return None
        return torch.ones(self.raster_rows, dtype=torch.bool, device=self.site.device).index_fill_(
            0, self.site[0], False
        )

    @derived
    def far_inverse(self) -> Tensor:
        """``(D, F)``, packed row of each slot of the flattened far faces; 0 beyond an image's extents."""
        rows = self.far.expand_as(self.far_slot)
        return self.site.new_zeros((self.directions, self.face_rows)).scatter_(1, self.far_slot, rows)

    @derived
    def face_padding(self) -> Tensor | None:
        """``(F,)``, true at slots of the flattened faces beyond an image's extents; None where there are none."""
        if self.sites == self.raster_rows:
            return None
        return torch.ones(self.face_rows, dtype=torch.bool, device=self.site.device).index_fill_(
            0, self.far_slot[0], False
        )

    def flat(self, index: Tensor, rows: int) -> Tensor:
        """Turn ``(D, K)`` row numbers of D tables into ``(D, K)`` row numbers of the tables stacked, ``rows`` each."""
        return index + rows * torch.arange(self.directions, device=index.device).unsqueeze(1)

    @derived
    def pred_blocks(self) -> tuple[Tensor, ...]:
        """Per step, the flat ``(rows * n,)`` predecessors as rows of the state table."""
        blocks: tuple[Tensor, ...] = self.pred.reshape(-1).split([rows * self.axes for rows in self.block_sizes])
        return blocks

    @derived
    def pred_local(self) -> tuple[Tensor, ...]:
        """Per step, the flat ``(rows * n,)`` predecessors as rows of ``[block before; near-face entries of this step]``."""
        blocks = []
        for step, flat in enumerate(self.pred_blocks):
            before, rows = (self.offsets[step - 1], self.block_sizes[step - 1]) if step else (0, 0)
            on_face = flat - self.sites - self.edge_offsets[step] + rows
            blocks.append(torch.where(flat >= self.sites, on_face, flat - before))
        return tuple(blocks)

    @derived
    def succ_local(self) -> tuple[Tensor, ...]:
        """Per step, flat ``(rows * n,)`` places ``1 + row * n + axis`` in the block after; 0 where there is no successor."""
        axis = torch.arange(self.axes, device=self.succ.device)
        blocks = []
        for step, block in enumerate(self.succ.split(self.block_sizes)):
            place = 1 + (block - self.offsets[step + 1]) * self.axes + axis
            blocks.append(torch.where(block >= 0, place, 0).reshape(-1))
        return tuple(blocks)

    @derived
    def edge_local(self) -> tuple[Tensor, ...]:
        """Per step, the place ``1 + row * n + axis`` in its own block that reads each of its near-face entries."""
        blocks = self.edge.split(self.edge_sizes)
        return tuple(1 + block - self.offsets[step] * self.axes for step, block in enumerate(blocks))

    @derived
    def output_rows(self) -> Tensor:
        """``(R * D,)``, row in the D state tables, stacked, that each raster row shows of each direction; any in the padding."""
        return self.flat(self.inverse, self.table_rows).T.reshape(-1)

    @derived
    def input_rows(self) -> Tensor:
        """``(R * D,)``, row among the sites of all directions, stacked, that read a raster row."""
        return self.flat(self.inverse, self.sites).T.reshape(-1)

    @derived
    def site_rows(self) -> Tensor:
        """``(D * M,)``, row of each site in an output ``(R * D, h)``."""
        return (
            self.site * self.directions + torch.arange(self.directions, device=self.site.device).unsqueeze(1)
        ).reshape(-1)

    @derived
    def near_rows(self) -> Tensor:
        """``(D * E,)``, row of each near-face entry in the flattened faces, stacked."""
        return self.flat(self.near, self.face_rows).reshape(-1)

    @derived
    def far_rows(self) -> Tensor:
        """``(D * F,)``, row in the D state tables, stacked, of each slot of the flattened far faces."""
        return self.flat(self.far_inverse, self.table_rows).reshape(-1)

    @derived
    def far_entries(self) -> list[tuple[Tensor, Tensor]]:
        """Per axis, rows of the stacked sites and slots of the stacked faces that meet; no site twice within an axis."""
        rows = self.flat(self.far.expand(self.directions, -1), self.sites).split(self.far_counts, dim=1)
        slots = self.flat(self.far_slot, self.face_rows).split(self.far_counts, dim=1)
        return [(r.reshape(-1), s.reshape(-1)) for r, s in zip(rows, slots, strict=True)]
