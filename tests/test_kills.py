"""Runs whose process is killed before any of its writes: what it has saved loads, and the run goes on to the end that it would have had."""

from __future__ import annotations

import itertools
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spatial_lstm.files import remove_unfinished
from spatial_lstm.training import BEST, LAST, METRICS, Checkpoint, Options, Stage, Trainer, files, read_metrics
from tests.toy import Line

OPTIONS = Options(validate_every=2, checkpoint_seconds=1e9)
# A checkpoint after every step: that of a stage's last one comes before its score.
OFTEN = Options(validate_every=3, checkpoint_seconds=0)
STAGES = [
    Stage(optimizer="adam", rate=0.1, final_rate=0.1, batch=8, steps=2),
    Stage(optimizer="sgd", rate=0.1, final_rate=0.1, batch=8, steps=2),
]
WRITES = [(os, "open"), (os, "fsync"), (os, "replace"), (os, "truncate"), (Path, "unlink"), (files.Metrics, "add")]


class Killed(BaseException):
    """The process is no more: nothing that it does from now on has an effect."""


class Kill:
    """The end of a process before one of its writes, counted from 1.

    Attributes:
        count: Writes that were begun.
    """

    def __init__(self, before: int) -> None:
        self.before, self.count = before, 0

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        for owner, name in WRITES:
            patch.setattr(owner, name, self._counted(getattr(owner, name)))
        patch.setattr(os, "fsync", self._counted(lambda _: None))  # it takes its time

    def _counted(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            self.count += 1
            if self.count >= self.before:
                raise Killed
            return write(*args, **options)

        return counted


def begin(folder: Path, *, overwrite: bool = False, steps: int = 2, options: Options = OPTIONS) -> Trainer[Line]:
    stages = [Stage(**{**STAGES[0].to_dict(), "steps": steps}), STAGES[1]]
    return Trainer(Line(), stages, folder=folder, options=options, overwrite=overwrite)


def resume(folder: Path, **options: Any) -> Trainer[Line]:
    checkpoint, task = Checkpoint.read(folder), Line()
    task.load(checkpoint.model)
    return Trainer.resume(folder, checkpoint, task, **options)


def killed_before(write: int, run: Callable[[], Trainer[Line]], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a run, killed before a write, had so many."""
    with monkeypatch.context() as patch:
        Kill(write).patch(patch)
        try:
            run().run()
        except Killed:
            return True
    return False


def left(folder: Path) -> dict[str, Any]:
    """What a finished run leaves, all that belongs together being so."""
    last, best = Checkpoint.read(folder), files.read(folder / BEST)
    assert {path.name for path in folder.iterdir()} == {LAST, BEST, METRICS}
    assert (best["score"], best["steps"]) == (last.state.best, last.state.best_total)
    weights = {name: tensor.tolist() for name, tensor in last.best["state"].items()}
    assert {name: tensor.tolist() for name, tensor in best["model"]["state"].items()} == weights
    lines = [{**line, "seconds": 0} for line in read_metrics(folder / METRICS)]
    return {"best": weights, "last": [tensor.tolist() for tensor in last.model["state"].values()], "metrics": lines}


@pytest.mark.parametrize("options", [OPTIONS, OFTEN], ids=["with the scores", "every step"])
@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwriting"])
def test_a_run_killed_before_any_write_ends_as_if_it_had_not_been(
    overwrite: bool, options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(tmp_path / "whole", options=options).run()
    begin(tmp_path / "older", steps=5).run()
    ends = [left(tmp_path / name) for name in (("older", "whole") if overwrite else ("whole",))]
    write, found = 0, True
    while found:
        folder, write = tmp_path / str(write), write + 1
        if overwrite:
            shutil.copytree(tmp_path / "older", folder)
        found = killed_before(write, lambda: begin(folder, overwrite=overwrite, options=options), monkeypatch)  # noqa: B023
        (resume(folder) if (folder / LAST).exists() else begin(folder, options=options)).run()
        assert left(folder) in ends
    assert write > 20


def test_best_weights_are_never_lost_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The resumed run is on a busy machine, where fewer steps fit the time: it does not come by such weights again."""
    timed = [Stage(optimizer="sgd", rate=0.1, final_rate=0.1, batch=8, minutes=1)]

    def slow(seconds: int) -> Callable[[], float]:
        return itertools.count(0, seconds).__next__

    write, found = 0, True
    while found:
        folder, write = tmp_path / str(write), write + 1
        trainer = Trainer(Line(), timed, folder=folder, options=OPTIONS, clock=slow(2))
        found = killed_before(write, lambda: trainer, monkeypatch)  # noqa: B023
        saved = files.read(folder / BEST)["score"] if (folder / BEST).exists() else -math.inf
        if (folder / LAST).exists():
            assert resume(folder, clock=slow(20)).run() >= saved
            left(folder)
    assert write > 20


def test_what_killed_writes_have_left_is_removed(tmp_path: Path) -> None:
    kept = [".last.pt.0123abcd.pt", ".last.pt", ".last.pt.01234567x", ".best.pt.01234567", "last.pt"]
    for name in (*kept, ".last.pt.01234567", ".last.pt.89abcdef"):
        (tmp_path / name).touch()
    remove_unfinished(tmp_path / LAST)
    remove_unfinished(tmp_path / "nowhere" / LAST)
    assert {path.name for path in tmp_path.iterdir()} == set(kept)
