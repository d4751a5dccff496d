"""From an image to a sequence of its columns."""

from __future__ import annotations

from torch import Tensor

from spatial_lstm import SizedModule
from spatial_lstm.arguments import check_positive_int


class SumHeight(SizedModule):
    """The sum over the rows of a column, after Graves & Schmidhuber, 2009: ``(N, C, H, W)`` to ``(N, C, W)``."""

    def forward(self, x: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        return x.sum(2), self.extents(sizes)

    def extents(self, sizes: Tensor) -> Tensor:
        return sizes[:, 1:]


class FlattenHeight(SizedModule):
    """All rows of a column as channels, ``(N, C, rows, W)`` to ``(N, C * rows, W)``: learns better than the sum, and fixes the height.

    Args:
        rows: The height.

    Raises:
        ValueError: If the images have another one.
    """

    def __init__(self, rows: int) -> None:
        super().__init__()
        check_positive_int("rows", rows)
        self.rows = rows

    def forward(self, x: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[2] != self.rows or bool((sizes[:, 0] != self.rows).any()):
            raise ValueError(f"expected images of {self.rows} rows, got {x.shape[2]}: {sizes[:, 0].tolist()}")
        return x.flatten(1, 2), self.extents(sizes)

    def extents(self, sizes: Tensor) -> Tensor:
        return sizes[:, 1:]

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return str(self.rows)
