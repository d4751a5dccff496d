"""A field on disk through a layer: the same as in memory, in the memory of a tile, and to be interrupted."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from benchmarks import tiles
from benchmarks.fields import Size
from spatial_lstm import SpatialLSTM, stream
from spatial_lstm.streaming import journal
from spatial_lstm.streaming.arrays import Field
from tests.cases import VARIANTS, assert_close, make_layer

Array = npt.NDArray[Any]
EXTENTS = (9, 7)
TILE = (2, 3)


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


@pytest.mark.parametrize("merge", ["concat", "mean"])
@pytest.mark.parametrize("writes", [0, 1, 20, 55, 61, 118])
def test_interrupted_and_resumed(writes: int, merge: str, tmp_path: Path) -> None:
    layer = make_layer("graves-peephole", 2, 3, 2, directions=("ff", "rr"), merge=merge)
    source, width = draw(layer), 6 if merge == "concat" else 3
    straight = np.zeros((width, *EXTENTS))
    stream(layer, source, straight, tile=TILE)
    sink = np.zeros((width, *EXTENTS))
    counted = Slices(sink, writes)
    folder = tmp_path / "folder"
    interrupted = False
    try:
        stream(layer, source, counted, tile=TILE, folder=folder)
    except KeyboardInterrupt:
        interrupted = True
    final = 30 if merge == "concat" else 15
    assert interrupted == (writes < final)
    if interrupted:
        again = Slices(sink)
        stream(layer, source, again, tile=TILE, folder=folder, resume=True)
        assert len(again.sizes) < 3 * final  # reads for comparison among them
    assert np.array_equal(sink, straight)
    assert not folder.exists()


def test_what_was_done_is_not_done_again(tmp_path: Path) -> None:
    layer = make_layer("spatial", 2, 3)
    source, sink = draw(layer), np.zeros((3, *EXTENTS))
    with pytest.raises(KeyboardInterrupt):
        stream(layer, source, Slices(sink, 10), tile=TILE, folder=tmp_path / "f")  # 15 tiles in rows of 3
    with pytest.raises(KeyboardInterrupt):
        stream(layer, source, Slices(sink, 5), tile=TILE, folder=tmp_path / "f", resume=True)
    stream(layer, source, Slices(sink, 3), tile=TILE, folder=tmp_path / "f", resume=True)
    assert_same(sink, whole(layer, source))


KILLED = """
import os, signal, sys
import numpy as np, torch
from spatial_lstm import SpatialLSTM, stream
from spatial_lstm.streaming import journal
from spatial_lstm.streaming.arrays import Field
journal.PERIOD = 0
torch.manual_seed(0)
layer = SpatialLSTM(2, 3, 2, directions="all", dtype=torch.float64, backend="plain")
class Sink:
    def __init__(self, array):
        self.array, self.shape, self.dtype, self.writes = array, array.shape, array.dtype, 0
    def __getitem__(self, at):
        return self.array[at]
    def __setitem__(self, at, values):
        self.writes += 1
        if self.writes == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        self.array[at] = values
    def flush(self):
        self.array.flush()
sink = np.load("sink.npy", mmap_mode="r+")
stream(layer, np.load("source.npy"), Sink(sink), tile=(2, 3), folder="folder", resume=True)
"""


def test_killed_and_resumed(tmp_path: Path) -> None:
    np.save(tmp_path / "source.npy", torch.randn(2, 4, 5, dtype=torch.float64).numpy())
    new_map(tmp_path / "sink.npy", (12, 4, 5)).flush()

    def run(writes: int) -> int:
        return subprocess.run([sys.executable, "-c", KILLED, str(writes)], cwd=tmp_path).returncode

    assert run(7) == -signal.SIGKILL
    assert (tmp_path / "folder" / "journal.pt").exists()
    assert run(0) == 0
    torch.manual_seed(0)
    layer = SpatialLSTM(2, 3, 2, directions="all", dtype=torch.float64, backend="plain")
    straight = np.zeros((12, 4, 5))
    stream(layer, np.load(tmp_path / "source.npy"), straight, tile=(2, 3))
    assert np.array_equal(np.load(tmp_path / "sink.npy"), straight)


def test_a_run_begun_anew_forgets_the_interrupted_one(tmp_path: Path) -> None:
    layer = make_layer("spatial", 2, 3)
    source, sink = draw(layer), new_map(tmp_path / "sink.npy", (3, *EXTENTS))
    kept = tmp_path / "sink.npy.stream"
    with pytest.raises(KeyboardInterrupt):
        stream(layer, source, Slices(sink, 10), tile=TILE, folder=kept)
    assert (kept / "journal.pt").exists()
    stream(layer, source + 1, sink, tile=TILE)
    assert_same(sink, whole(layer, source + 1))
    assert not kept.exists()


@pytest.fixture
def interrupted(tmp_path: Path) -> SimpleNamespace:
    layer = make_layer("spatial", 2, 3, 2)
    case = SimpleNamespace(layer=layer, source=draw(layer), sink=np.zeros((3, *EXTENTS)), tile=TILE, folder=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        stream(layer, case.source, Slices(case.sink, 10), tile=TILE, folder=tmp_path)
    return case


def with_other_weights(case: SimpleNamespace) -> None:
    with torch.no_grad():
        case.layer.bias_l1[0] += 1


def with_another_tile(case: SimpleNamespace) -> None:
    case.tile = (3, 3)


def with_another_type(case: SimpleNamespace) -> None:
    case.source = case.source.astype(np.float32)


def with_a_sink_that_was_wiped(case: SimpleNamespace) -> None:
    case.sink[:] = 0


def with_other_data_in_between(case: SimpleNamespace) -> None:
    np.load(case.folder / "layer0.npy", mmap_mode="r+")[:] = 0


def with_nothing_in_between(case: SimpleNamespace) -> None:
    (case.folder / "layer0.npy").unlink()


def with_a_broken_journal(case: SimpleNamespace) -> None:
    (case.folder / "journal.pt").write_bytes(b"journal")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_other_weights, "expected the layer that the interrupted run was begun with, SpatialLSTM"),
        (with_another_tile, "expected the tile that the interrupted run was begun with, \\(2, 3\\), got \\(3, 3\\)"),
        (with_another_type, "expected the source that the interrupted run was begun with, .*float64, got .*float32"),
        (with_a_sink_that_was_wiped, "expected sink to hold what the interrupted run read or wrote"),
        (with_other_data_in_between, "expected layer0.npy to hold what the interrupted run read or wrote"),
        (with_nothing_in_between, "expected .*layer0.npy, which the interrupted run wrote, got no such file"),
        (with_a_broken_journal, "expected the journal of an interrupted run, got .*journal.pt"),
    ],
)
def test_nothing_else_is_resumed(interrupted: SimpleNamespace, change: Any, message: str) -> None:
    change(interrupted)
    case = interrupted
    with pytest.raises(ValueError, match=message):
        stream(case.layer, case.source, case.sink, tile=case.tile, folder=case.folder, resume=True)


def test_other_data_are_refused(tmp_path: Path) -> None:
    layer = make_layer("spatial", 2, 3)
    source, sink = draw(layer), np.zeros((3, *EXTENTS))
    with pytest.raises(KeyboardInterrupt):
        stream(layer, source, Slices(sink, 10), tile=TILE, folder=tmp_path)
    with pytest.raises(ValueError, match="expected source to hold what the interrupted run read or wrote"):
        stream(layer, source + 1, sink, tile=TILE, folder=tmp_path, resume=True)


def test_the_journal_is_written_from_time_to_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bool] = []
    monkeypatch.setattr(journal, "write_atomically", lambda *_: written.append(True))
    layer = make_layer("spatial", 2, 3)
    for period, times in ((1e9, 1), (0.0, 6)):  # the end, or every row and the end
        monkeypatch.setattr(journal, "PERIOD", period)
        written.clear()
        stream(layer, draw(layer), np.zeros((3, *EXTENTS)), tile=TILE, folder=tmp_path)
        assert len(written) == times


SOURCE, SINK = np.zeros((2, *EXTENTS)), np.zeros((3, *EXTENTS))
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


def test_a_private_copy_keeps_what_was_changed_in_it(tmp_path: Path) -> None:
    layer = make_layer("spatial", 2, 3, directions="all")
    new_map(tmp_path / "a.npy", (2, *EXTENTS))
    source, sink = np.load(tmp_path / "a.npy", mmap_mode="c"), np.zeros((12, *EXTENTS))
    source[:] = draw(layer)
    stream(layer, source, sink, tile=TILE)
    assert_same(sink, whole(layer, source))
    assert source.any()


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


def test_what_an_interrupted_run_left_is_cleared(tmp_path: Path) -> None:
    deep, layer = make_layer("spatial", 2, 3, 2, directions="all", merge="sum"), make_layer("spatial", 2, 3)
    source, sink = draw(layer), np.zeros((3, *EXTENTS))
    with pytest.raises(KeyboardInterrupt):
        stream(deep, Slices(source), Slices(sink, 0), tile=TILE, folder=tmp_path / "f")
    assert {"layer0.npy", "parts1.npy", "journal.pt"} <= set(os.listdir(tmp_path / "f"))
    stream(layer, source, sink, tile=TILE, folder=tmp_path / "f")
    assert_same(sink, whole(layer, source))
    assert not (tmp_path / "f").exists()


def test_the_journal_comes_before_the_first_field(tmp_path: Path) -> None:
    found: list[list[str]] = []

    class Watched(Slices):
        def __getitem__(self, at: Any) -> Array:
            found.append(sorted(os.listdir(tmp_path)))
            raise MemoryError

    layer = make_layer("spatial", 2, 3, 2)
    with pytest.raises(MemoryError):
        stream(layer, Watched(SOURCE), np.zeros((3, *EXTENTS)), tile=TILE, folder=tmp_path)
    assert found == [["journal.pt", "layer0.npy"]]


def test_a_position_is_written_after_all_that_it_counts_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(journal, "PERIOD", 0)
    monkeypatch.setattr(Field, "flush", lambda field: flushed.append(field.name))
    layer = make_layer("spatial", 2, 3, directions=("ff", "rr"), merge="sum")
    stream(layer, draw(layer), np.zeros((3, *EXTENTS)), tile=EXTENTS, folder=tmp_path)
    assert flushed == ["sink", "parts0.npy", "sink", "parts0.npy", "sink", "parts0.npy"]


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


def test_dropout_is_refused() -> None:
    layer = make_layer("spatial", 2, 3, 2, dropout=0.5)
    with pytest.raises(ValueError, match=r"call layer.eval\(\) first"):
        stream(layer, SOURCE, SINK, tile=TILE)
    stream(layer.eval(), SOURCE, np.zeros((3, *EXTENTS)), tile=TILE)


def test_the_benchmark_measures() -> None:
    size, tile = Size(1, (6, 5), 2, 3), (2, 2)
    seconds = tiles.step_seconds(size, (tile,))
    assert seconds.keys() == {None, tile}
    row = tiles.stream_row(16)
    assert row["files"] > 16 * 16 * (1 + 8 * 2)
    assert row["resident"] > 1e7
    case = {"tile": tile, "recompute": False, "peak": 5.0, "held": 4.5, "time": 1.25}
    table = tiles.tables({"rows": [{"size": asdict(size) | {"label": size.label}, "cases": [case]}, row]})
    assert "| 2x2 | 5.0 | 4.5 | 1.25 |" in table
    assert "| 16x16 |" in table
