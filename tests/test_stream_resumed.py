"""A stream that was interrupted goes on where it was, with what it was begun with and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from spatial_lstm import SpatialLSTM, stream
from tests.cases import make_layer
from tests.streamed import EXTENTS, TILE, Slices, assert_same, draw, new_map, whole


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
        (
            with_a_broken_journal,
            "expected the journal of an interrupted run, got .*journal.pt: it is damaged, or of another kind$",
        ),
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


def test_what_an_interrupted_run_left_is_cleared(tmp_path: Path) -> None:
    deep, layer = make_layer("spatial", 2, 3, 2, directions="all", merge="sum"), make_layer("spatial", 2, 3)
    source, sink = draw(layer), np.zeros((3, *EXTENTS))
    with pytest.raises(KeyboardInterrupt):
        stream(deep, Slices(source), Slices(sink, 0), tile=TILE, folder=tmp_path / "f")
    assert {"layer0.npy", "parts1.npy", "journal.pt"} <= set(os.listdir(tmp_path / "f"))
    stream(layer, source, sink, tile=TILE, folder=tmp_path / "f")
    assert_same(sink, whole(layer, source))
    assert not (tmp_path / "f").exists()
