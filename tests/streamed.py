"""What tests of streaming draw from: arrays that note their slices or break off, and what a layer gives in memory."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from spatial_lstm import SpatialLSTM
from tests.cases import assert_close

Array = npt.NDArray[Any]
EXTENTS = (9, 7)
TILE = (2, 3)
SOURCE, SINK = np.zeros((2, *EXTENTS)), np.zeros((3, *EXTENTS))


class Slices:
    """What slices like an array, and notes how large the slices are; writing fails after a while if asked to."""

    def __init__(self, array: Array, fails_after: int | None = None) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.sizes: list[int] = []
        self.left = itertools.count() if fails_after is None else iter(range(fails_after))

    def __getitem__(self, at: Any) -> Array:
        self.sizes.append(self.array[at].size)
        return self.array[at]

    def __setitem__(self, at: Any, values: Array) -> None:
        if next(self.left, None) is None:
            raise KeyboardInterrupt
        self.sizes.append(values.size)
        self.array[at] = values


def new_map(path: Path, shape: tuple[int, ...], dtype: Any = np.float64) -> Any:
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


def draw(layer: SpatialLSTM, extents: tuple[int, ...] = EXTENTS) -> Array:
    return torch.randn(layer.input_size, *extents, dtype=torch.float64).numpy()


def whole(layer: SpatialLSTM, source: Array) -> Array:
    weight = layer.weight_hh_l0 if hasattr(layer, "weight_hh_l0") else next(layer.parameters())
    x = torch.from_numpy(np.array(source)).to(weight.dtype)
    with torch.no_grad():
        if layer.channels_last:
            return layer(x.movedim(0, -1))[0].movedim(-1, 0).numpy()
        return layer(x)[0].numpy()


def assert_same(found: Array, expected: Array) -> None:
    assert_close([torch.from_numpy(np.array(found))], [torch.from_numpy(np.array(expected))])
