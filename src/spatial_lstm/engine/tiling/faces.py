"""Faces of a whole field, read and written in parts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from spatial_lstm.engine.tiling.grid import Part

Pair = tuple[Tensor, Tensor]


def positions(batch: int, extents: Sequence[int], levels: Sequence[int]) -> list[int]:
    """Where each axis' faces start when ``levels[k]`` faces ``(N, *S without k)`` of every axis k are flattened; the last is the total."""
    starts = [0]
    for axis, level in enumerate(levels):
        starts.append(starts[-1] + level * batch * math.prod(extents[:axis]) * math.prod(extents[axis + 1 :]))
    return starts


class Faces:
    """A field's faces of h and c: one for every axis, a *front*, or one for every tile along every axis.

    Args:
        h, c: ``(P, K, h)``, for P planes (a plane is one layer in one direction) the faces flattened as :func:`positions` says. What is put
            here is written into them.
        batch: N.
        extents: S.
        levels: How many faces there are for each axis; None for a front.
    """

    def __init__(
        self, h: Tensor, c: Tensor, batch: int, extents: Sequence[int], levels: Sequence[int] | None = None
    ) -> None:
        self.h, self.c = h, c
        levels = [1] * len(extents) if levels is None else levels
        starts = positions(batch, extents, levels)
        self._axes: list[Pair] = []  # (P, level, N, *S without k, h) each
        for axis, level in enumerate(levels):
            shape = (level, batch, *extents[:axis], *extents[axis + 1 :])
            own = slice(starts[axis], starts[axis + 1])
            self._axes.append((h[:, own].unflatten(1, shape), c[:, own].unflatten(1, shape)))

    def take(self, plane: int, part: Part) -> Pair:
        """The flattened faces ``(1, F', h)`` of one plane on a part's border."""
        found = [(h[at], c[at]) for h, c, at in self._places(plane, part)]
        h, c = (torch.cat([face.flatten(0, -2) for face in faces]).unsqueeze(0) for faces in zip(*found, strict=True))
        return h, c

    def put(self, plane: int, part: Part, new_h: Tensor, new_c: Tensor) -> None:
        """Write what :meth:`take` reads."""
        start = 0
        for h, c, at in self._places(plane, part):
            shape = h[at].shape
            stop = start + math.prod(shape[:-1])
            h[at], c[at] = new_h[0, start:stop].view(shape), new_c[0, start:stop].view(shape)
            start = stop

    def _places(self, plane: int, part: Part) -> list[tuple[Tensor, Tensor, tuple[Tensor | slice, ...]]]:
        """For every axis the faces ``(N, *S without k, h)`` of a part's tile, and where in them the part lies."""
        found = []
        for axis, (h, c) in enumerate(self._axes):
            level = part.tile.number[axis] if h.shape[1] > 1 else 0
            found.append((h[plane, level], c[plane, level], part.face(axis)))
        return found

    def clear_padding(self, sizes: Tensor | None) -> None:
        """Put zeros beyond each image's own extents, ``(N, n)``."""
        if sizes is None:
            return
        for axis, pair in enumerate(self._axes):
            others = [k for k in range(len(self._axes)) if k != axis]
            for dim, k in enumerate(others, 3):
                beyond = torch.arange(pair[0].shape[dim], device=sizes.device) >= sizes[:, k, None]  # (N, S_k)
                shape = [1] * pair[0].ndim
                shape[2], shape[dim] = beyond.shape
                for faces in pair:
                    faces.masked_fill_(beyond.view(shape).to(faces.device), 0)
