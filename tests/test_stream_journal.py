"""The journal of a stream: when it is written, and before and after what."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spatial_lstm import stream
from spatial_lstm.streaming import journal
from spatial_lstm.streaming.arrays import Field
from tests.cases import make_layer
from tests.streamed import EXTENTS, SOURCE, TILE, Array, Slices, draw


def test_the_journal_is_written_from_time_to_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bool] = []
    monkeypatch.setattr(journal, "write_atomically", lambda *_: written.append(True))
    layer = make_layer("spatial", 2, 3)
    for period, times in ((1e9, 1), (0.0, 6)):  # the end, or every row and the end
        monkeypatch.setattr(journal, "PERIOD", period)
        written.clear()
        stream(layer, draw(layer), np.zeros((3, *EXTENTS)), tile=TILE, folder=tmp_path)
        assert len(written) == times


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
