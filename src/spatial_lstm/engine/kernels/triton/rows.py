"""Rows of tables by Triton: torch takes narrow rows at a fraction of the memory's speed, and sums many of them as slowly."""

from __future__ import annotations

import math
from functools import lru_cache

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
        *lead, _, width = table.shape
        rows = index.shape[0]
        if not _suits(table, rows, width):
            return super().take(table, index, out)
        return take(table, index, table.new_empty((*lead, rows, width)) if out is None else out)

    def total(self, table: Tensor) -> Tensor:
        return total(table) if _suits(table, *table.shape[-2:]) else super().total(table)


ROWS = TritonRows()


def take(table: Tensor, index: Tensor, out: Tensor) -> Tensor:
    """Fill ``out`` ``(..., len(index), w)`` with rows of ``(..., P, w)``."""
    from spatial_lstm.engine.kernels.triton.device import rows as device

    *lead, sources, width = table.shape
    tile, rows = _tile(width), index.shape[0]
    with on(table.device):
        launch = Launcher(device.take_rows, (table.contiguous(), index.contiguous(), out), tile)
        launch((-(-rows // tile["BM"]), -(-width // tile["BW"]), math.prod(lead)), rows, sources)
    return out


def total(table: Tensor) -> Tensor:
    """The sum of rows, of shares of them first."""
    from spatial_lstm.engine.kernels.triton.device import rows as device

    *lead, rows, width = table.shape
    tile, share = _tile(width), max(LEAST_SHARE, -(-rows // MOST_PARTS))
    parts = -(-rows // share)
    sums = table.new_empty((*lead, parts, width), dtype=torch.float32)
    with on(table.device):
        launch = Launcher(device.sum_rows, (table.contiguous(), sums), tile)
        launch((parts, -(-width // tile["BW"]), math.prod(lead)), rows, share)
    return sums.sum(-2).to(table.dtype)


@lru_cache(maxsize=256)
def _tile(width: int) -> dict[str, int]:
    """How a kernel takes rows of ``width``: tiles of BM rows times BW columns."""
    columns = min(MOST, max(LEAST, 1 << (width - 1).bit_length()))
    return {"W": width, "BM": ENTRIES // columns, "BW": columns}


def _suits(table: Tensor, rows: int, width: int) -> bool:
    return table.is_cuda and table.dtype != torch.float64 and rows * width >= WORTH_IT
