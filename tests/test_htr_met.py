"""What a model of handwriting has met is known again, wherever it is now and whatever has changed around it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from spatial_lstm.cli.htr_met import met
from spatial_lstm.handwriting import LineReader
from spatial_lstm.handwriting.data import read_lines
from spatial_lstm.handwriting.training.task import digest
from tests.commands import command
from tests.handwriting import save_line

pytest.importorskip("rapidfuzz")
pytest.importorskip("PIL")

QUIET = ["--threads", "1"]


def train(*options: str | Path) -> int:
    return command("train-htr", *options, "--no-pictures", *QUIET)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of lines that has no parts."""
    for seed in range(12):
        save_line(tmp_path / "all" / f"{seed:02}.png", "ab", seed=seed)
    return tmp_path / "all"


@pytest.fixture
def run(tmp_path: Path, data: Path) -> Path:
    """A run on it, of which one line was held out for test."""
    assert train("--data", data, "--out", tmp_path / "run", "--architecture", "graves-2009", "--steps", "1") == 0
    return tmp_path / "run"


def of_part(run: Path, part: str, data: Path) -> list[Path]:
    """The lines in a folder that a run's model has met so."""
    reader = LineReader.load(run)
    known = met(reader.record)[part]
    return [line.picture for line in read_lines(data)[0] if digest(line, reader.model.height) in known]


@pytest.mark.parametrize("change", ["moved", "corrected", "more", "less"])
def test_the_lines_held_out_are_found_in_data_that_have_changed(
    change: str, tmp_path: Path, data: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (held,), trained = of_part(run, "test", data), of_part(run, "train", data)
    assert len(trained) == 10
    if change == "moved":
        data = data.rename(tmp_path / "others")
    elif change == "corrected":
        trained[0].with_suffix(".gt.txt").write_text("ba")
    elif change == "more":
        save_line(data / "new.png", "ab", seed=99)
    else:
        trained[0].unlink()
    out = tmp_path / "test.json"
    assert command("test-htr", run, "--data", data, "--json", out, *QUIET) == 0
    told = json.loads(out.read_text())
    assert [entry["line"] for entry in told["worst"]] == [held.name]
    assert told["model"]["task"].keys() == {"augmentation", "data"}
    capsys.readouterr()
    assert command("test-htr", run, "--data", data, "--part", "all", *QUIET) == 0
    count, all_lines = len(of_part(run, "train", data)), len(read_lines(data)[0])
    assert f"{count} of {all_lines} lines were trained on" in capsys.readouterr().out


def test_going_on_from_a_model_tells_of_lines_that_it_was_trained_on(
    tmp_path: Path, data: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By that model, and by the one before it; also when the run is resumed without them."""
    for seed in (20, 21, 22):
        save_line(tmp_path / "further" / f"{seed}.png", "ab", seed=seed)
    options = ["--data", tmp_path / "further", "--test", data, "--steps", "1"]
    told = "test: 10 of 12 lines were trained on by the model of --load"
    for before, out in (("run", "second"), ("second", "third")):
        assert train("--load", tmp_path / before, "--out", tmp_path / out, *options) == 0
        assert told in capsys.readouterr().out
    shutil.rmtree(run)
    assert train("--resume", "--out", tmp_path / "third") == 0
    assert told in capsys.readouterr().out


def test_a_picture_that_is_in_two_parts_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, part in enumerate(("train", "train", "val", "test")):
        save_line(tmp_path / "data" / part / f"{seed}.png", "ab", seed=seed)
    shutil.copy(tmp_path / "data" / "train" / "0.png", tmp_path / "data" / "test" / "3.png")
    options = ["--architecture", "graves-2009", "--steps", "1"]
    assert train("--data", tmp_path / "data", "--out", tmp_path / "run", *options) == 0
    assert "test: 1 of 1 lines are the same picture as a line that is trained on" in capsys.readouterr().out
