"""What can stand in the place of the two-dimensional layer, with as many parameters: to find out what that layer is good for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from itertools import chain, pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from spatial_lstm import SizedModule, SizedSequential, SpatialLSTM

M = TypeVar("M", bound=nn.Module)
# Where the search for a width ends; a layer of so many channels has millions of parameters.
WIDEST = 4096


class RowsAndColumns(SizedModule):
    """Rows and columns each read for themselves by a bidirectional 1-D layer, and both combined at every site.

    Args:
        channels: Of the input.
        features: Of the output.
        hidden_size: Features of each direction.

    Shape:
        Input ``(N, channels, H, W)``, output ``(N, features, H, W)``.
    """

    def __init__(self, channels: int, features: int, hidden_size: int) -> None:
        super().__init__()
        self.columns = _sequence_layer(channels, hidden_size)
        self.rows = _sequence_layer(channels, hidden_size)
        self.combine = nn.Linear(4 * hidden_size, features)

    def forward(self, x: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        last = x.movedim(1, -1)  # (N, H, W, C)
        along_rows = _along(self.rows, last, sizes)
        along_columns = _along(self.columns, last.transpose(1, 2), sizes.flip(1)).transpose(1, 2)
        combined: Tensor = self.combine(torch.cat([along_rows, along_columns], dim=-1)).movedim(-1, 1)
        inside = (torch.arange(n, device=sizes.device) < sizes[:, axis, None] for axis, n in enumerate(x.shape[2:]))
        height, width = (own.to(x.device) for own in inside)
        return combined.masked_fill(~(height[:, None, :, None] & width[:, None, None]), 0), sizes

    def extents(self, sizes: Tensor) -> Tensor:
        return sizes


def convolutions_like(grid: SpatialLSTM) -> SizedSequential:
    """Three convolutions of 3x3 with about as many parameters, each normalized over the batch and followed by ReLU."""
    channels, features = grid.input_size, features_of(grid)

    def make(width: int) -> SizedSequential:
        extents = (channels, width, width, features)
        layers = (
            (nn.Conv2d(given, wanted, 3, padding=1, bias=False), nn.BatchNorm2d(wanted), nn.ReLU())
            for given, wanted in pairwise(extents)
        )
        return SizedSequential(*chain.from_iterable(layers))

    return _nearest(make, _parameters(grid))


def sequences_like(grid: SpatialLSTM) -> RowsAndColumns:
    """Rows and columns read by 1-D layers with about as many parameters."""
    channels, features = grid.input_size, features_of(grid)
    return _nearest(lambda hidden_size: RowsAndColumns(channels, features, hidden_size), _parameters(grid))


def features_of(grid: SpatialLSTM) -> int:
    """Channels that come out of it."""
    return grid.hidden_size * (len(grid.directions) if grid.merge == "concat" else 1)


def _parameters(module: nn.Module) -> int:
    """How many numbers it learns."""
    return sum(parameter.numel() for parameter in module.parameters())


def _nearest(make: Callable[[int], M], parameters: int) -> M:
    """What ``make`` makes of the width that comes nearest."""

    def count(width: int) -> int:
        with torch.device("meta"):
            return _parameters(make(width))

    above = bisect_left(range(WIDEST), parameters, lo=1, key=count)
    return make(min(max(1, above - 1), above, key=lambda width: abs(count(width) - parameters)))


def _sequence_layer(channels: int, hidden_size: int) -> SpatialLSTM:
    """A bidirectional LSTM over ``(N, L, C)``."""
    return SpatialLSTM(channels, hidden_size, spatial_dims=1, directions="all", cell="stable", channels_last=True)


def _along(layer: SpatialLSTM, x: Tensor, sizes: Tensor) -> Tensor:
    """A 1-D layer over every row of every image ``(N, H, W, C)``; rows beyond an image's own are left out and come out zero."""
    own = torch.arange(x.shape[1], device=sizes.device) < sizes[:, :1]  # (N, H)
    lengths = sizes[:, 1:].expand(-1, x.shape[1])[own]
    own = own.to(x.device)
    output: Tensor = layer(x[own], sizes=lengths)[0]
    return output.new_zeros(*x.shape[:3], output.shape[-1]).index_put((own,), output)
