"""One layer in one direction, once through a field."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from spatial_lstm.engine import Tile, TileGrid
from spatial_lstm.functional import spatial_lstm
from spatial_lstm.modules import SpatialLSTM, SpatialLSTMCell
from spatial_lstm.state import State
from spatial_lstm.streaming.arrays import Field, Window


class Sweep(NamedTuple):
    """A pass from one corner to the opposite one.

    Attributes:
        layer: The module.
        cell: One site of the layer and direction that run, with their weights.
        place: Which of the directions.
        source: What is read.
        target: What is written.
        first: The first of the channels written.
        others: The outputs of all other directions, one after the other, where this one is to merge them.
    """

    layer: SpatialLSTM
    cell: SpatialLSTMCell
    place: int
    source: Field
    target: Field
    first: int
    others: Field | None

    @property
    def direction(self) -> str:
        """One letter per axis."""
        return self.layer.directions[self.place]

    def rows(self, grid: TileGrid) -> Iterator[list[Tile]]:
        """Rows of tiles along axis 0, in the order of travel."""
        for _, row in groupby(grid.order(self.direction), key=lambda tile: tile.number[0]):
            yield list(row)

    def digests(self, tile: Tile) -> tuple[str, str]:
        """What tells a tile's content, read and written, from others."""
        return self.source.digest(self._read(tile)), self.target.digest(self._written(tile))

    def run(self, tile: Tile, near: State) -> State:
        """Read a tile, compute it from its near faces, write it, return its far faces."""
        cell, layer = self.cell, self.layer
        output, far = spatial_lstm(
            self.source.read(self._read(tile), cell.weight_hh),
            cell.weight_ih,
            cell.weight_hh,
            cell.bias,
            near,
            directions=self.direction,
            cell=layer.cell_type,
            weight_peephole=cell.weight_peephole,
            weight_ch=cell.weight_ch,
            backend=layer.backend,
        )
        self.target.write(self._written(tile), self._merged(tile, output))
        for field in (self.source, self.target, self.others):
            if field is not None:
                field.forget()
        return far

    def flush(self) -> None:
        """Let all that the position of this pass says is there reach the disk: the outputs of the directions before, too."""
        for field in (self.target, self.others):
            if field is not None:
                field.flush()

    def _read(self, tile: Tile) -> Window:
        return (slice(0, self.source.shape[0]), *tile.window)

    def _written(self, tile: Tile) -> Window:
        return (slice(self.first, self.first + self.layer.hidden_size), *tile.window)

    def _merged(self, tile: Tile, output: Tensor) -> Tensor:
        """An output ``(h, *T)``, merged with all others where this is the last."""
        if self.others is None:
            return output
        window = (slice(0, self.others.shape[0]), *tile.window)
        stacked = torch.cat([self.others.read(window, output), output]).unflatten(0, (-1, len(output)))
        merged: Tensor = stacked.sum(0) if self.layer.merge == "sum" else stacked.mean(0)
        return merged
