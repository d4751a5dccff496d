"""What waits for a GPU, rehearsed: every part runs on the CPU from end to end, and what it finds is written as it comes."""

from __future__ import annotations

import json
import os
import subprocess
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import on_gpu, rehearsal
from benchmarks.gpu_opponents import graphed

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_gpu, "ROUNDS", 1)
    monkeypatch.setattr(on_gpu, "TINY", on_gpu.TINY[1:])


def rows(part: str, folder: Path) -> list[dict[str, Any]]:
    with rehearsal.cpu_for_gpu(True):
        count = on_gpu.run_part(part, folder / "gpu.jsonl", True)
    found = [json.loads(line) for line in (folder / "gpu.jsonl").read_text().splitlines()]
    assert len(found) == count > 0
    return found


def test_compile(tmp_path: Path) -> None:
    found = rows("compile", tmp_path)
    assert {row["type"] for row in found} == {"float32", "tf32", "float16", "bfloat16"}
    assert all(row["failed"] == {} for row in found)


def test_auto_says_why_not(tmp_path: Path) -> None:
    for row in rows("auto", tmp_path):
        assert row["not_used"]
        assert "tiles" in row["choice"]


def test_steps(tmp_path: Path) -> None:
    found = {row["contestant"] for row in rows("steps", tmp_path)}
    assert {"plain, training", "plain + graph, inference"} <= found


def test_layer(tmp_path: Path) -> None:
    found = {(row["type"], row["mode"], row["contestant"]) for row in rows("float32", tmp_path)}
    assert {("float32", "training", "plain"), ("float32", "inference", "nn.LSTM")} <= found


def test_choices_that_cannot_run_say_why(tmp_path: Path) -> None:
    found = rows("choices", tmp_path)
    assert {row["choice"]["precision"] for row in found} == {"tf32x3", "ieee"}
    assert {row["choice"]["variant"] for row in found} == {"images", "step", "gates"}
    assert all("triton" in row["not_run"].lower() for row in found)


def test_what_a_graph_reads_is_kept() -> None:
    """Else its memory is given to others, or back."""
    table = torch.zeros(3)
    alive = weakref.ref(table)
    with rehearsal.cpu_for_gpu(True):
        replay = graphed(lambda table=table: table.add_(1))
        del table
        assert alive() is not None
        del replay
        assert alive() is None


def test_ride(tmp_path: Path) -> None:
    (row,) = rows("ride", tmp_path)
    assert row["seconds"][1] > 0


def test_a_part_that_fails_keeps_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def part(rehearsed: bool) -> Iterator[dict[str, Any]]:
        yield {"figure": 1}
        raise RuntimeError("no more")

    monkeypatch.setitem(on_gpu.PARTS, "auto", part)
    with pytest.raises(RuntimeError, match="no more"):
        on_gpu.run_part("auto", tmp_path / "gpu.jsonl", True)
    assert json.loads((tmp_path / "gpu.jsonl").read_text()) == {"part": "auto", "figure": 1}


def test_nothing_stays_rehearsed() -> None:
    before = torch.cuda.Event
    with rehearsal.cpu_for_gpu(True):
        assert torch.zeros(1, device="cuda").device.type == "cpu"
    assert torch.cuda.Event is before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_script_says_which_part_failed(tmp_path: Path) -> None:
    """And goes on to the next."""
    done = subprocess.run(
        [ROOT / "benchmarks/on_gpu.sh", "auto", "ride"],
        env={**os.environ, "OUT": str(tmp_path), "PYTHON": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["auto", "ride"]
