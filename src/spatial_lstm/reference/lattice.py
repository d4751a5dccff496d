"""The sites of one image, the order in which they are visited, and their neighbors."""

from __future__ import annotations

from itertools import product
from types import EllipsisType
from typing import NamedTuple, TypeAlias

Point: TypeAlias = tuple[int, ...]
Index: TypeAlias = tuple[int | EllipsisType, ...]


class Lattice(NamedTuple):
    """One image's own extent, without padding, and a direction of one letter per axis, ``f`` forward or ``r`` reverse."""

    extents: tuple[int, ...]
    direction: str

    def sites(self) -> list[Point]:
        """All sites, each after its predecessors; the last axis runs fastest."""
        along = [
            range(e) if d == "f" else range(e - 1, -1, -1) for e, d in zip(self.extents, self.direction, strict=True)
        ]
        return list(product(*along))

    def predecessor(self, p: Point, k: int) -> Point | None:
        """The site visited just before p along axis k; None beyond the near face."""
        return self._move(p, k, -1)

    def successor(self, p: Point, k: int) -> Point | None:
        """The site visited just after p along axis k; None beyond the far face."""
        return self._move(p, k, +1)

    def _move(self, p: Point, k: int, step: int) -> Point | None:
        coordinate = p[k] + (step if self.direction[k] == "f" else -step)
        return (*p[:k], coordinate, *p[k + 1 :]) if 0 <= coordinate < self.extents[k] else None


def on_face(p: Point, k: int) -> Point:
    """Where p's line along axis k meets that axis's faces: p without coordinate k."""
    return p[:k] + p[k + 1 :]


def at(image: int, p: Point) -> Index:
    """Where an array ``(N, features, *S)`` has all features of one site; likewise for ``(N, h, *S without axis k)``."""
    return (image, ..., *p)
