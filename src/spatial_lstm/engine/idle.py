"""Idle axes, along which no state comes: of extent 1, without near faces.

Along them every site's h_k and c_k are zero. So are their products with the weights, whose gradients are zero too, and if c is all that a
gate lets through, so is that: see :meth:`~spatial_lstm.engine.cells.base.Cell.idle_blocks`. What is left is a layer of fewer axes, on
fewer rows and columns of the weights. (Its far faces along idle axes, which show every site, are the grid's concern.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from spatial_lstm.engine.cells import Cell
from spatial_lstm.engine.tensors import Tensors, Weights


def idle_axes(cell: Cell, tensors: Tensors) -> tuple[int, ...]:
    """Those that a layer can do without; it keeps one axis where all are idle."""
    extents, axes = tensors.x.shape[1:-1], tensors.x.ndim - 2
    if 1 not in extents or tensors.h0 is not None or tensors.c0 is not None:
        return ()
    found = tuple([k for k in range(axes) if extents[k] == 1 and cell.idle_blocks(axes, k) is not None])
    return found if len(found) < axes else found[:-1]


class Kept:
    """Which places of a dimension remain: some of ``count`` groups of ``each`` places, in their order.

    Attributes:
        index: Those places, int64.
    """

    def __init__(self, count: int, groups: Sequence[int], each: int) -> None:
        self.index = (np.array(groups, dtype=np.int64)[:, None] * each + np.arange(each)).reshape(-1)
        self._extent = count * each
        self._runs: list[tuple[int, int]] = []  # first and length
        for group in groups:
            joins = self._runs and sum(self._runs[-1]) == group * each
            first, length = self._runs.pop() if joins else (group * each, 0)
            self._runs.append((first, length + each))

    def take(self, tensor: Tensor | None, dim: int) -> Tensor | None:
        """What remains of ``tensor``."""
        if tensor is None or len(self.index) == self._extent:
            return tensor
        return torch.cat([tensor.narrow(dim, *run) for run in self._runs], dim)

    def put_back(self, tensor: Tensor | None, dim: int) -> Tensor | None:
        """``tensor`` at these places of one that is zero elsewhere."""
        if tensor is None or len(self.index) == self._extent:
            return tensor
        shape = list(tensor.shape)
        shape[dim] = self._extent
        whole, parts = tensor.new_zeros(shape), tensor.split_with_sizes([length for _, length in self._runs], dim)
        for run, part in zip(self._runs, parts, strict=True):
            whole.narrow(dim, *run).copy_(part)
        return whole


class Places:
    """Where in a layer's weights is what it takes without its idle axes.

    Attributes:
        rows: Of the B h rows.
        columns: Of the n h columns of ``weight_hh`` and ``weight_ch``.
        peephole: Of the 2n + 1 rows of ``weight_peephole``.
        blocks: How many gate blocks remain.
        sizes: How many rows and columns there are.
        addresses: Where the indices of the three lie in memory.
    """

    def __init__(self, cell: Cell, axes: int, idle: Sequence[int], hidden: int) -> None:
        out = {block for k in idle for block in cell.idle_blocks(axes, k) or ()}
        walked = [k for k in range(axes) if k not in idle]
        blocks = cell.blocks(axes)
        self.blocks = blocks - len(out)
        self.rows = Kept(blocks, [block for block in range(blocks) if block not in out], hidden)
        self.columns = Kept(axes, walked, hidden)
        self.peephole = Kept(2 * axes + 1, [*walked, *(axes + k for k in walked), 2 * axes], 1)
        self.sizes = blocks * hidden, axes * hidden
        self.addresses = tuple(kept.index.ctypes.data for kept in (self.rows, self.columns, self.peephole))

    def take(self, weights: Weights) -> Weights:
        """What remains of the layer's weights; differentiable."""
        return self._of_each(weights, Kept.take)

    def put_back(self, weights: Weights) -> Weights:
        """What belongs to :meth:`take`'s weights, such as their gradients, with zeros for what does not remain."""
        return self._of_each(weights, Kept.put_back)

    def _of_each(self, weights: Weights, change: Callable[[Kept, Tensor | None, int], Tensor | None]) -> Weights:
        def rows(weight: Tensor | None, dim: int = -2) -> Tensor | None:
            return change(self.rows, weight, dim)

        def states(weight: Tensor | None) -> Tensor | None:
            return change(self.columns, rows(weight), -1)

        ih, hh, bias, peephole, ch = weights
        return Weights._make((rows(ih), states(hh), rows(bias, -1), change(self.peephole, peephole, -2), states(ch)))


@lru_cache(maxsize=256)
def places(cell: Cell, axes: int, idle: tuple[int, ...], hidden: int) -> Places:
    """Of a layer of ``axes`` axes."""
    return Places(cell, axes, idle, hidden)
