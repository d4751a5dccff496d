"""Cutting a field into tiles, and the order in which a direction visits them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Tile(NamedTuple):
    """One tile of a field.

    Attributes:
        number: Its number along each axis, counted from coordinate 0 whatever the direction.
        start: Its first coordinate along each axis.
        stop: The coordinate after its last.
    """

    number: tuple[int, ...]
    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def window(self) -> tuple[slice, ...]:
        """What it covers along each axis."""
        return tuple(map(slice, self.start, self.stop))

    @property
    def extents(self) -> tuple[int, ...]:
        """Its own extents."""
        return tuple(stop - start for start, stop in zip(self.start, self.stop, strict=True))


class TileGrid(NamedTuple):
    """The tiles of a field: all of extents ``tile`` but the last along each axis.

    Attributes:
        extents: S, the field's.
        tile: Extents of a tile.
    """

    extents: tuple[int, ...]
    tile: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many tiles there are along each axis; for extents that are symbols, too."""
        return tuple(-(-extent // size) for extent, size in zip(self.extents, self.tile, strict=True))

    def order(self, direction: str) -> Iterator[Tile]:
        """All tiles, each after its predecessors in ``direction``, the first axis' number changing last."""
        ranges = [
            range(count) if letter == "f" else range(count)[::-1]
            for count, letter in zip(self.counts, direction, strict=True)
        ]
        for number in itertools.product(*ranges):
            start = tuple(i * size for i, size in zip(number, self.tile, strict=True))
            ends = zip(start, self.tile, self.extents, strict=True)
            yield Tile(number, start, tuple(min(at + size, extent) for at, size, extent in ends))


class Part(NamedTuple):
    """What a batch of images has in one tile.

    Attributes:
        tile: The tile.
        images: Which images have sites there: numbers ``(N',)``, or a slice for all.
        sizes: ``(N', n)``, each one's own extent within the tile; None when all fill it.
    """

    tile: Tile
    images: Tensor | slice
    sizes: Tensor | None

    @property
    def window(self) -> tuple[Tensor | slice, ...]:
        """Where in ``(N, *S, ..)`` it lies."""
        return (self.images, *self.tile.window)

    def face(self, axis: int) -> tuple[Tensor | slice, ...]:
        """Where in a face ``(N, *S without axis, ..)`` its own face lies."""
        return (self.images, *(at for k, at in enumerate(self.tile.window) if k != axis))


def parts(grid: TileGrid, direction: str, sizes: Tensor | None) -> Iterator[Part]:
    """The parts of all tiles in which there are sites, in the order of ``direction``."""
    for tile in grid.order(direction):
        part = part_of(tile, sizes)
        if part is not None:
            yield part


def part_of(tile: Tile, sizes: Tensor | None) -> Part | None:
    """What images of ``sizes`` ``(N, n)``, or without their own, have in a tile; None for nothing."""
    if sizes is None:
        return Part(tile, slice(None), None)
    start, extents = (torch.tensor(each, device=sizes.device) for each in (tile.start, tile.extents))
    own = torch.minimum(sizes - start, extents)
    there = (own > 0).all(1)
    if not there.any():
        return None
    full = bool((own[there] == extents).all())
    return Part(tile, slice(None) if bool(there.all()) else there.nonzero().squeeze(1), None if full else own[there])
