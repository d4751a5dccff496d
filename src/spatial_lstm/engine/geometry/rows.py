"""Rows of tables ``(..., P, w)``: taken by an index, and summed."""

from __future__ import annotations

import torch
from torch import Tensor


class Rows:
    """By torch; a kernel may know a faster way."""

    def take(self, table: Tensor, index: Tensor, out: Tensor | None = None) -> Tensor:
        """``(..., len(index), w)``, into ``out`` if that is given."""
        return torch.index_select(table, -2, index, out=out)

    def total(self, table: Tensor) -> Tensor:
        """``(..., w)``."""
        return table.sum(-2)


ROWS = Rows()
