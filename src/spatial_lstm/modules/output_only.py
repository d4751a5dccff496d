"""A layer for :class:`torch.nn.Sequential`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from spatial_lstm.modules.layer import SpatialLSTM
from spatial_lstm.state import State


class OutputOnly(nn.Module):
    """A :class:`SpatialLSTM` that returns its output alone, without the state, so that it stands in a :class:`torch.nn.Sequential`.

    Args:
        layer: What runs.

    Raises:
        TypeError: If ``layer`` is no :class:`SpatialLSTM`.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Conv2d(1, 8, 3), OutputOnly(SpatialLSTM(8, 16, directions="all")), nn.Conv2d(64, 10, 1))
        >>> network(torch.zeros(2, 1, 30, 20)).shape
        torch.Size([2, 10, 28, 18])
    """

    def __init__(self, layer: SpatialLSTM) -> None:
        super().__init__()
        if not isinstance(layer, SpatialLSTM):
            raise TypeError(f"expected a SpatialLSTM, got {type(layer).__name__}")
        self.layer = layer

    def forward(
        self,
        input: Tensor,
        state: State | None = None,
        *,
        sizes: Tensor | Sequence[object] | None = None,
        tile: Sequence[int] | None = None,
    ) -> Tensor:
        """Return the layer's output; arguments as the layer's."""
        output: Tensor = self.layer(input, state, sizes=sizes, tile=tile)[0]
        return output
