"""The named networks, up to the features of every column."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from spatial_lstm import SizedSequential, SpatialLSTM
from spatial_lstm.handwriting.network.controls import convolutions_like, features_of, sequences_like
from spatial_lstm.handwriting.network.height import FlattenHeight, SumHeight

Layers = dict[str, nn.Module]
Window = int | tuple[int, int]


class Choices(NamedTuple):
    """What all architectures leave open.

    Attributes:
        height: Of the line images, pixels.
        cell: Of the two-dimensional layers.
        directions: Of the two-dimensional layers.
        dropout: Probability, before each layer on columns, the linear one among them.
    """

    height: int
    cell: str
    directions: str | Sequence[str]
    dropout: float


class Architecture(NamedTuple):
    """A network: ``(N, 1, height, W)`` to ``(N, features, T)``."""

    layers: SizedSequential
    features: int


def _default(choices: Choices, middle: Callable[[SpatialLSTM], nn.Module] = lambda grid: grid) -> Architecture:
    """Three strided convolutions, a two-dimensional layer on an eighth of the rows, another convolution, a 1-D layer over the columns.

    Normalized convolutions learn in half the time, and small layers whose directions are not summed are a third of the work.

    Args:
        choices: What is left open.
        middle: What stands in the place of the two-dimensional layer, given that.
    """
    grid = _grid(64, 32, choices)
    layers: Layers = {
        **_convolution("1", 1, 16, 3, stride=2, padding=1),
        **_convolution("2", 16, 32, 3, stride=2, padding=1),
        **_convolution("3", 32, 64, 3, stride=(2, 1), padding=1),
        "grid": middle(grid),
        **_convolution("4", features_of(grid), 64, (2, 3), stride=(2, 1), padding=(0, 1)),
    }
    rows = _rows(layers, choices.height)
    layers |= {
        "flatten": FlattenHeight(rows),
        "dropout": _dropout(choices),
        "columns": SpatialLSTM(64 * rows, 128, spatial_dims=1, directions="all", cell="stable"),
        "dropout2": _dropout(choices),
    }
    return Architecture(_started(SizedSequential(OrderedDict(layers))), 256)


def _hierarchy(choices: Choices) -> Architecture:
    """The hierarchy of Graves & Schmidhuber, 2009, with more units: three two-dimensional layers, nothing else recurrent."""
    layers: Layers = {
        "conv1": nn.Conv2d(1, 16, 5, 2, 2),
        "tanh1": nn.Tanh(),
        "grid1": _grid(16, 16, choices, merge="sum"),
        "conv2": nn.Conv2d(16, 48, 4, 2, 1),
        "tanh2": nn.Tanh(),
        "grid2": _grid(48, 48, choices, merge="sum"),
        "conv3": nn.Conv2d(48, 96, (4, 3), (2, 1), 1),
        "tanh3": nn.Tanh(),
        "grid3": _grid(96, 64, choices, merge="sum"),
        "sum": SumHeight(),
        "dropout": _dropout(choices),
    }
    return Architecture(SizedSequential(OrderedDict(layers)), 64)


def _paper(choices: Choices) -> Architecture:
    """Their own sizes: layers of 2, 10 and 50 units a direction, blocks of 4x2 gathered by 6 and 20 tanh units, summed over the height."""
    first = _grid(8, 2, choices)
    count = len(first.directions)
    layers: Layers = {
        "block1": nn.Conv2d(1, 8, (4, 2), (4, 2)),
        "grid1": first,
        "block2": nn.Conv2d(2 * count, 6, (4, 2), (4, 2)),
        "tanh2": nn.Tanh(),
        "grid2": _grid(6, 10, choices),
        "block3": nn.Conv2d(10 * count, 20, (2, 1), (2, 1)),
        "tanh3": nn.Tanh(),
        "grid3": _grid(20, 50, choices),
        "sum": SumHeight(),
        "dropout": _dropout(choices),
    }
    return Architecture(SizedSequential(OrderedDict(layers)), 50 * count)


def _started(layers: SizedSequential) -> SizedSequential:
    """The same with convolutions drawn for ReLU, after He et al., 2015.

    Drawn as usual each takes half of what varies from column to column, and it lasts five times as many steps until anything is read.
    """
    for layer in layers.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return layers


def _convolution(
    name: str, channels: int, features: int, kernel: Window, *, stride: Window, padding: Window
) -> dict[str, nn.Module]:
    """A convolution, normalized over the batch, and ReLU, with names that end in this one."""
    return {
        f"conv{name}": nn.Conv2d(channels, features, kernel, stride, padding, bias=False),
        f"norm{name}": nn.BatchNorm2d(features),
        f"relu{name}": nn.ReLU(),
    }


def _grid(channels: int, hidden_size: int, choices: Choices, *, merge: str = "concat") -> SpatialLSTM:
    return SpatialLSTM(channels, hidden_size, directions=choices.directions, merge=merge, cell=choices.cell)


def _dropout(choices: Choices) -> nn.Module:
    return nn.Dropout(choices.dropout) if choices.dropout else nn.Identity()


def _rows(layers: Layers, height: int) -> int:
    """Rows that layers leave of a height, at least 1."""
    wide = torch.tensor([[height, 10 * height]], device="cpu")
    return max(1, int(SizedSequential(OrderedDict(layers)).extents(wide)[0, 0]))


ARCHITECTURES: dict[str, Callable[[Choices], Architecture]] = {
    "default": _default,
    "graves": _hierarchy,
    "graves-2009": _paper,
    "default-convolutions": partial(_default, middle=convolutions_like),
    "default-sequences": partial(_default, middle=sequences_like),
}
