"""A field on disk through a layer: the same as in memory, in the memory of a tile."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spatial_lstm import stream
from tests.cases import VARIANTS, assert_close, make_layer
from tests.streamed import EXTENTS, TILE, Slices, assert_same, draw, new_map, whole


@pytest.mark.parametrize("seed", range(20))
def test_as_in_memory(seed: int, tmp_path: Path) -> None:
    choose = random.Random(seed)
    n = choose.randint(1, 3)
    layer = make_layer(
        choose.choice(list(VARIANTS)),
        *(2, 3, choose.randint(1, 3)),
        spatial_dims=n,
        directions=choose.choice([None, "all", "r" * n]),
        merge=choose.choice(["concat", "sum", "mean"]),
        channels_last=choose.random() < 0.5,
        bias=choose.random() < 0.7,
        scale=0.3,
    )
    extents = tuple(choose.randint(1, 9) for _ in range(n))
    source = draw(layer, extents)
    expected = whole(layer, source)
    for sink in (np.full(expected.shape, np.nan), new_map(tmp_path / "sink.npy", expected.shape)):
        stream(layer, source, sink, tile=[choose.randint(1, 5) for _ in range(n)])
        assert_same(sink, expected)
    assert os.listdir(tmp_path) == ["sink.npy"]


def test_no_slice_is_larger_than_a_tile() -> None:
    layer = make_layer("spatial", 2, 3, 2, directions="all")
    source, sink = Slices(draw(layer)), Slices(np.zeros((12, *EXTENTS)))
    stream(layer, source, sink, tile=TILE)
    assert_same(sink.array, whole(layer, source.array))
    assert max(source.sizes) == 2 * 2 * 3
    assert max(sink.sizes) == 3 * 2 * 3


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.bool_, np.float16, np.float64])
def test_types_are_converted(kind: Any, tmp_path: Path) -> None:
    layer = make_layer("spatial", 2, 3, dtype=torch.float32)
    source = new_map(tmp_path / "source.npy", (2, *EXTENTS), kind)
    source[:] = (draw(layer) * 3).clip(0, 9).astype(kind)
    del source
    source = np.load(tmp_path / "source.npy", mmap_mode="r")
    sink = np.zeros((3, *EXTENTS), np.float16)
    stream(layer, source, sink, tile=TILE)
    assert np.array_equal(sink, whole(layer, source).astype(np.float16))


def test_sixteen_bit_layers_and_tensors() -> None:
    layer = make_layer("stable", 2, 3, 2, directions="all", merge="mean", dtype=torch.bfloat16)
    source = torch.from_numpy(draw(layer))
    sink = torch.zeros(3, *EXTENTS)
    stream(layer, source, sink, tile=TILE)
    with torch.no_grad():
        expected = layer(source.bfloat16())[0]
    assert_close([sink.bfloat16()], [expected])


def test_a_private_copy_keeps_what_was_changed_in_it(tmp_path: Path) -> None:
    layer = make_layer("spatial", 2, 3, directions="all")
    new_map(tmp_path / "a.npy", (2, *EXTENTS))
    source, sink = np.load(tmp_path / "a.npy", mmap_mode="c"), np.zeros((12, *EXTENTS))
    source[:] = draw(layer)
    stream(layer, source, sink, tile=TILE)
    assert_same(sink, whole(layer, source))
    assert source.any()
