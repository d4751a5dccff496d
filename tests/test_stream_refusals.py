"""What a stream refuses: wrong arguments, one memory for both ends, files of others, layers that do more than their cells."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from spatial_lstm import SpatialLSTM, stream
from tests.cases import make_layer
from tests.streamed import EXTENTS, SINK, SOURCE, TILE, Array, assert_same, draw, new_map, whole

FROZEN = np.zeros((3, *EXTENTS))
FROZEN.flags.writeable = False
BOTH = np.zeros((5, *EXTENTS))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"layer": torch.nn.LSTM(2, 3)}, TypeError, "expected layer to be a SpatialLSTM, got LSTM"),
        ({"source": [[1.0]]}, TypeError, "expected source to slice like an array and have a shape, got list"),
        ({"source": SOURCE.astype(complex)}, TypeError, "expected source to hold real numbers, got complex128"),
        ({"source": SOURCE[0]}, ValueError, "expected source of shape \\(2, \\*S\\) with 2 spatial axes"),
        ({"source": SOURCE[:1]}, ValueError, "expected source of shape \\(2, \\*S\\) with 2 spatial axes"),
        ({"sink": SINK[:, 1:]}, ValueError, "expected sink of shape \\(3, 9, 7\\), got \\(3, 8, 7\\)"),
        ({"sink": SINK.astype(int)}, ValueError, "expected sink to hold floats, got int64"),
        ({"sink": FROZEN}, ValueError, "expected sink to be writable, got one that is read-only"),
        (
            {"sink": torch.zeros(3, 1, 1).expand(3, *EXTENTS)},
            ValueError,
            "expected sink to have a place for every value",
        ),
        ({"source": BOTH[:2], "sink": BOTH[1:4]}, ValueError, "expected source and sink to be different memory"),
        ({"tile": (0, 3)}, ValueError, "expected tile\\[0\\] to be positive, got 0"),
        ({"tile": None}, TypeError, "expected tile to be a tuple of 2 ints, got None"),
        ({"resume": True}, ValueError, "expected folder=.. to resume a run into a sink that lies in no file"),
        ({"resume": 1}, TypeError, "expected resume to be a bool, got int"),
        ({"sink": torch.zeros(3, *EXTENTS, dtype=torch.bfloat16)}, TypeError, "expected sink to be dense, on the CPU"),
    ],
)
def test_errors(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    given = {"layer": make_layer("spatial", 2, 3), "source": SOURCE, "sink": SINK, "tile": TILE} | changed
    layer, source, sink = (given.pop(name) for name in ("layer", "source", "sink"))
    with pytest.raises(error, match=message):
        stream(layer, source, sink, **given)


def test_one_file_mapped_twice_and_parts_of_one_map(tmp_path: Path) -> None:
    layer = make_layer("spatial", 3, 3)
    both = new_map(tmp_path / "a.npy", (3, *EXTENTS))
    again = np.load(tmp_path / "a.npy", mmap_mode="r")
    with pytest.raises(ValueError, match="expected source and sink to be different memory"):
        stream(layer, again, both, tile=TILE)
    both = new_map(tmp_path / "b.npy", (6, *EXTENTS))
    both[:3] = draw(layer)
    stream(layer, both[:3], both[3:], tile=TILE)
    assert_same(both[3:], whole(layer, both[:3]))


def test_views_of_maps_of_one_file(tmp_path: Path) -> None:
    """They lie where they are, not where their maps begin; some run backward."""
    layer, values = make_layer("spatial", 2, 3, dtype=torch.float32), EXTENTS[0] * EXTENTS[1]
    content = np.random.default_rng(0).standard_normal((40, *EXTENTS)).astype(np.float32)
    (tmp_path / "a.bin").write_bytes(content.tobytes())

    def mapped(mode: Any, first: int, count: int) -> Any:
        return np.memmap(tmp_path / "a.bin", np.float32, mode, 4 * values * first, (count, *EXTENTS))

    for source in (mapped("r", 0, 40)[20:22], mapped("r", 11, 20)[9:11], mapped("r", 0, 40)[21:19:-1]):
        for sink in (mapped("r+", 4, 34)[15:18], mapped("r+", 21, 3), mapped("r+", 18, 3)[::-1]):
            with pytest.raises(ValueError, match="expected source and sink to be different memory"):
                stream(layer, source, sink, tile=TILE)
        expected = whole(layer, np.array(source))
        for sink in (mapped("r+", 0, 40)[22:25], mapped("r+", 9, 30)[10:7:-1]):
            stream(layer, source, sink, tile=TILE)
            assert_same(sink, expected)


class Store:
    """An array in a store of files, as zarr's."""

    def __init__(self, array: Array, root: Path) -> None:
        self.array, self.shape, self.dtype, self.store = array, array.shape, array.dtype, SimpleNamespace(root=root)

    def __getitem__(self, at: Any) -> Array:
        return self.array[at]

    def __setitem__(self, at: Any, values: Array) -> None:
        self.array[at] = values


def test_one_array_of_a_store_opened_twice(tmp_path: Path) -> None:
    layer, array = make_layer("spatial", 3, 3), np.zeros((3, *EXTENTS))
    with pytest.raises(ValueError, match="expected source and sink to be different memory"):
        stream(layer, Store(array, tmp_path / "a"), Store(array, tmp_path / "a"), tile=TILE)
    stream(layer, Store(array, tmp_path / "a"), Store(array.copy(), tmp_path / "b"), tile=TILE)


@pytest.mark.parametrize("name", ["layer0.npy", "parts0.npy", "journal.pt"])
@pytest.mark.parametrize("resume", [False, True])
def test_files_of_others_are_left_alone(name: str, resume: bool, tmp_path: Path) -> None:
    layer = make_layer("spatial", 2, 3, 2, directions="all", merge="sum")
    with open(tmp_path / name, "wb") as file:
        np.save(file, SOURCE)
    source = np.load(tmp_path / name, mmap_mode="r+")
    with pytest.raises(
        ValueError, match="expected (a folder without files|the journal of an interrupted run).*" + name
    ):
        stream(layer, source, np.zeros((3, *EXTENTS)), tile=TILE, folder=tmp_path, resume=resume)
    assert os.listdir(tmp_path) == [name]
    assert np.array_equal(np.load(tmp_path / name), SOURCE)


def test_masked_values_are_refused() -> None:
    layer, source = make_layer("spatial", 2, 3), np.ma.masked_array(SOURCE.copy())
    stream(layer, source, np.zeros((3, *EXTENTS)), tile=TILE)
    source[0, 8, 6] = np.ma.masked
    with pytest.raises(ValueError, match="expected source to have a value everywhere, got masked values"):
        stream(layer, source, np.zeros((3, *EXTENTS)), tile=TILE)


class Doubled(SpatialLSTM):
    def forward(self, *args: Any, **options: Any) -> Any:
        output, far = super().forward(*args, **options)
        return output * 2, far


def test_layers_that_do_more_than_their_cells_are_refused() -> None:
    with pytest.raises(TypeError, match="expected a layer with SpatialLSTM's own forward, got Doubled"):
        stream(Doubled(2, 3), SOURCE, SINK, tile=TILE)
    for register in ("register_forward_hook", "register_forward_pre_hook"):
        layer = make_layer("spatial", 2, 3)
        handle = getattr(layer, register)(lambda *_: None)
        with pytest.raises(ValueError, match="expected a layer without forward hooks"):
            stream(layer, SOURCE, SINK, tile=TILE)
        handle.remove()
        stream(layer, SOURCE, np.zeros((3, *EXTENTS)), tile=TILE)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("merge", "max", ValueError),
        ("directions", "ff", TypeError),
        ("cell_type", [], ValueError),
        ("recompute", "no", TypeError),
        ("dropout", "no", TypeError),
    ],
)
def test_options_that_were_changed(name: str, value: object, error: type[Exception]) -> None:
    layer = SpatialLSTM(3, 4)
    setattr(layer, name, value)
    with pytest.raises(error, match=f"expected (layer.)?{name.removesuffix('_type')} to be"):
        stream(layer, np.zeros((3, 4, 5)), np.zeros((4, 4, 5)), tile=(2, 2))


def test_dropout_is_refused() -> None:
    layer = make_layer("spatial", 2, 3, 2, dropout=0.5)
    with pytest.raises(ValueError, match=r"call layer.eval\(\) first"):
        stream(layer, SOURCE, SINK, tile=TILE)
    stream(layer.eval(), SOURCE, np.zeros((3, *EXTENTS)), tile=TILE)
