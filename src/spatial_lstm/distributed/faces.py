"""Where a part of a field is cut into blocks, and the faces of those blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cut:
    """How a part is cut.

    Attributes:
        split: The axis along which the field is split over ranks.
        along: The axis along which each part is cut into blocks.
        starts: Where each block begins along it, and, last, where the last one ends.
    """

    split: int
    along: int
    starts: tuple[int, ...]

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self.starts) - 1

    def span(self, block: int) -> tuple[int, int]:
        """Start and length of a block."""
        return self.starts[block], self.starts[block + 1] - self.starts[block]

    def block(self, tensor: Tensor, block: int) -> Tensor:
        """A block of a tensor ``(N, *S, ..)``."""
        return tensor.narrow(1 + self.along, *self.span(block))


def cut_evenly(split: int, along: int, extent: int, blocks: int) -> Cut:
    """Cut ``extent`` into blocks as equal as can be."""
    return Cut(split, along, tuple(extent * block // blocks for block in range(blocks + 1)))


class Faces:
    """The faces of a part on all axes and in all directions, and those of its blocks as views of them.

    A face of one direction is a tensor ``(2, N, *S without k, h)``, h and then c.

    Args:
        rows: ``(2, D, F, h)``, flattened as in :func:`spatial_lstm.engine.layout.flatten_faces`.
        batch: N.
        extents: S, of the part.
        cut: Where the blocks are.
    """

    def __init__(self, rows: Tensor, batch: int, extents: Sequence[int], cut: Cut) -> None:
        self._cut = cut
        self._axes = split_faces(rows, batch, extents)  # (2, D, N, *S without k, h)

    def of_block(self, axis: int, direction: int, block: int) -> Tensor:
        """A view of the face of ``axis``, or of the part of it that a block touches."""
        face, along = self._axes[axis].select(1, direction), self._cut.along
        if axis == along:
            return face
        return face.narrow(2 + along - (axis < along), *self._cut.span(block))


def split_faces(rows: Tensor, batch: int, extents: Sequence[int]) -> list[Tensor]:
    """Rows ``(.., F, h)`` as views ``(.., N, *S without k, h)``, one for each axis."""
    shapes = [(batch, *extents[:k], *extents[k + 1 :]) for k in range(len(extents))]
    return [
        piece.unflatten(-2, shape)
        for piece, shape in zip(rows.split([math.prod(s) for s in shapes], dim=-2), shapes, strict=True)
    ]


def join_faces(faces: Sequence[Tensor]) -> Tensor:
    """One direction's faces ``(2, N, *S without k, h)`` as rows ``(2, 1, F, h)``."""
    return torch.cat([face.flatten(1, -2) for face in faces], dim=1).unsqueeze(1)
