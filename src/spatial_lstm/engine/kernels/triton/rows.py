"""Rows of tables by Triton: torch takes narrow rows at a fraction of the memory's speed, and sums many of them as slowly."""

from __future__ import annotations

import torch
from torch import Tensor

from spatial_lstm.engine.geometry.rows import Rows
from spatial_lstm.engine.kernels.triton.launcher import Launcher, on

# Of a tile.
ENTRIES = 2048
# The most columns of a tile, and the least: a row of fewer entries has some masked.
MOST, LEAST = 128, 16
# Fewer entries than this torch takes in no time.
WORTH_IT = 1 << 16
# Rows that a program sums, at the least, and programs for a tile's columns, at the most.
LEAST_SHARE, MOST_PARTS = 256, 256


class TritonRows(Rows):
    """Equal to the bit where rows are taken; sums are of float32."""

    def take(self, table: Tensor, index: Tensor, out: Tensor | None = None) -> Tensor:
        width, rows = table.shape[-1], len(index)
        if not _suits(table, rows):
            return super().take(table, index, out)
        return take(table, index, table.new_empty((*table.shape[:-2], rows, width)) if out is None else out)

    def total(self, table: Tensor) -> Tensor:
        return total(table) if _suits(table, table.shape[-2]) else super().total(table)


ROWS = TritonRows()


def take(table: Tensor, index: Tensor, out: Tensor) -> Tensor:
    """Fill ``out`` ``(..., len(index), w)`` with rows of ``(..., P, w)``."""
    from spatial_lstm.engine.kernels.triton.device import rows as device

    width, source_rows = table.shape[-1], table.shape[-2]
    launch, grid = _tiled(device.take_rows, (table.contiguous(), index.contiguous(), out), table, len(index))
    with on(table.device):
        launch(grid, len(index), source_rows)
    return out.view(*table.shape[:-2], len(index), width)


def total(table: Tensor) -> Tensor:
    """The sum of rows, of shares of them first."""
    from spatial_lstm.engine.kernels.triton.device import rows as device

    *lead, rows, width = table.shape
    share = max(LEAST_SHARE, -(-rows // MOST_PARTS))
    parts = -(-rows // share)
    sums = table.new_empty((*lead, parts, width), dtype=torch.float32)
    launch, (_, across, directions) = _tiled(device.sum_rows, (table.contiguous(), sums), table, rows)
    with on(table.device):
        launch((parts, across, directions), rows, share)
    return sums.sum(-2).to(table.dtype)


def _tiled(
    kernel: object, tensors: tuple[Tensor, ...], table: Tensor, rows: int
) -> tuple[Launcher, tuple[int, int, int]]:
    """A kernel with its tile, and the grid of tiles that cover ``rows``."""
    width = table.shape[-1]
    columns = min(MOST, max(LEAST, 1 << (width - 1).bit_length()))
    height = ENTRIES // columns
    constants = {"W": width, "BM": height, "BW": columns}
    return Launcher(kernel, tensors, constants), (-(-rows // height), -(-width // columns), table[..., 0, 0].numel())


def _suits(table: Tensor, rows: int) -> bool:
    return table.is_cuda and table.dtype != torch.float64 and rows * table.shape[-1] >= WORTH_IT
