"""All layers and directions of a run, one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch

from spatial_lstm.engine import TileGrid
from spatial_lstm.modules import SpatialLSTM
from spatial_lstm.streaming.arrays import STORED, Field
from spatial_lstm.streaming.front import Front
from spatial_lstm.streaming.journal import Digests, Journal, Position
from spatial_lstm.streaming.sweep import Sweep
from spatial_lstm.streaming.workspace import Workspace


class Course:
    """The run of a layer over a field.

    Args:
        layer: What runs.
        source: What is read.
        sink: What the last layer writes.
        grid: The tiles.
        space: Where fields in between are put.
        journal: Where the position is kept.
    """

    def __init__(
        self, layer: SpatialLSTM, source: Field, sink: Field, grid: TileGrid, space: Workspace, journal: Journal
    ) -> None:
        self._layer, self._source, self._sink = layer, source, sink
        self._grid, self._space, self._journal = grid, space, journal
        self._dtype = STORED[layer.cell().weight_hh.dtype]
        self._merging = layer.merge != "concat" and len(layer.directions) > 1

    @property
    def tiles(self) -> int:
        """How many there are to compute, all layers and directions together."""
        return math.prod(self._grid.counts) * self._layer.num_layers * len(self._layer.directions)

    def run(self, begun: Position | None, advance: Callable[[int], None]) -> None:
        """Run from a position, or from the beginning, to the end; ``advance`` is told how many tiles are done."""
        count, tiles = len(self._layer.directions), math.prod(self._grid.counts)
        at = start_of(0) if begun is None else begun
        if begun is None and (self._layer.num_layers > 1 or self._merging):
            self._journal.note(at, self._sink.flush, now=True)  # before any field, as the sign that fields are a run's
        for depth in range(at.layer, self._layer.num_layers):
            sweeps = self._sweeps(at)
            digests = _unchanged(sweeps, at, self._grid)
            for sweep in sweeps[at.direction :]:
                skipped = at.row if sweep.place == at.direction else 0
                done = (depth * count + sweep.place) * tiles + skipped * tiles // self._grid.counts[0]
                for tiles_of_row, position in self._rows(sweep, at, skipped, digests):
                    done += tiles_of_row
                    advance(done)
                    self._journal.note(position, sweep.flush)
            at = start_of(depth + 1)
            self._journal.note(at, sweeps[-1].flush, now=True)
            self._space.drop(f"layer{depth - 1}")
            self._space.drop(f"parts{depth}")

    def _sweeps(self, at: Position) -> list[Sweep]:
        """A layer's passes, their fields open."""
        layer, depth = self._layer, at.layer
        extents, directions, hidden = self._grid.extents, layer.directions, layer.hidden_size
        new, last = at.direction == at.row == 0, depth + 1 == layer.num_layers
        source, target, parts = self._source, self._sink, None
        shape = (self._sink.shape[0], *extents)
        if depth > 0:
            source = self._space.field(f"layer{depth - 1}", shape, self._dtype, new=False)
        if not last:
            target = self._space.field(f"layer{depth}", shape, self._dtype, new=new)
        if self._merging:
            shape = ((len(directions) - 1) * hidden, *extents)
            parts = self._space.field(f"parts{depth}", shape, self._dtype, new=new)
        found = []
        for place, direction in enumerate(directions):
            merges = parts is not None and place + 1 == len(directions)
            into = target if parts is None or merges else parts
            first = 0 if merges else place * hidden
            cell = layer.cell(depth, direction)
            found.append(Sweep(layer, cell, place, source, into, first, parts if merges else None))
        return found

    def _rows(self, sweep: Sweep, at: Position, skipped: int, digests: list[Digests]) -> Iterator[tuple[int, Position]]:
        """Go through the field in one direction; after each row of tiles yield their number and where the run stands."""
        front = Front(self._layer.hidden_size, self._grid.extents, self._grid.tile[0], sweep.cell.weight_hh)
        if skipped:
            front.restore((at.h, at.c))
        for number, row in enumerate(sweep.rows(self._grid), 1):
            if number <= skipped:
                continue
            front.start_row()
            for tile in row:
                front.put(tile, sweep.run(tile, front.take(tile)))
            digests.append(sweep.digests(row[-1]))
            yield len(row), Position(at.layer, sweep.place, number, *front.between, digests)


def start_of(depth: int) -> Position:
    """Where a layer begins."""
    return Position(depth, 0, 0, torch.zeros(0, device="cpu"), torch.zeros(0, device="cpu"), [])


def _unchanged(sweeps: list[Sweep], at: Position, grid: TileGrid) -> list[Digests]:
    """What is told of the rows that are done, having refused fields that no longer hold what was read and written then.

    Raises:
        ValueError: If one does not.
    """
    done = at.direction * grid.counts[0] + at.row
    rows = [(sweep, row[-1]) for sweep in sweeps[: at.direction + 1] for row in sweep.rows(grid)]
    for (sweep, tile), expected in zip(rows[:done], at.digests, strict=False):
        for field, found, then in zip((sweep.source, sweep.target), sweep.digests(tile), expected, strict=True):
            if found != then:
                raise ValueError(
                    f"expected {field.name} to hold what the interrupted run read or wrote, got something else at {tile.start}"
                )
    return at.digests[:done]
