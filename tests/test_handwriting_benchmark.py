"""The benchmark on handwriting, small: it trains, reads, keeps, goes on with what is missing, and asks kraken."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import handwriting, handwriting_kraken
from benchmarks.handwriting_report import table
from benchmarks.harness import Row

pytest.importorskip("sklearn")
pytest.importorskip("rapidfuzz")

KETOS = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked"
case "$*" in
  *train*) mkdir -p "$5" && touch "$5/best_0.9.safetensors" ;;
  *) echo "  62.50% Character Accuracy"; echo "  25.00% Word Accuracy" ;;
esac
"""


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A folder of strings of digits."""
    from spatial_lstm.handwriting.data import save_lines
    from spatial_lstm.handwriting.training import digit_lines

    parts = digit_lines(train=6, validation=2, test=3)
    save_lines(parts.train + parts.validation + parts.test, tmp_path / "digits")
    return tmp_path / "digits"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where figures go."""
    small = {"architecture": "graves-2009"}
    groups = {
        "default": {"default": handwriting.Variant(small)},
        "lines": {"4 lines": handwriting.Variant(small, lines=4)},
    }
    for name, value in {"RESULTS": tmp_path, "RUNS": tmp_path / "runs", "GROUPS": groups}.items():
        monkeypatch.setattr(handwriting, name, value)
    return tmp_path / "handwriting_digits.json"


def run(monkeypatch: pytest.MonkeyPatch, *options: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["handwriting", *map(str, options)])
    handwriting.main()


def test_trains_what_is_missing(
    lines: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", lines, "--minutes", "0.001", "0.002", "--only", "default"]
    run(monkeypatch, *options)
    assert capsys.readouterr().out.count("CER") == 2
    run(monkeypatch, *options, "lines")
    assert capsys.readouterr().out.count("CER") == 2
    rows = json.loads(kept.read_text())["rows"]
    assert [(row["model"], row["minutes"], row["lines"]) for row in rows] == [
        ("default", 0.001, 6),
        ("default", 0.002, 6),
        ("4 lines", 0.001, 4),
        ("4 lines", 0.002, 4),
    ]
    assert all(row["with_language"]["cer"] >= 0 and row["cpu_minutes"] > 0 for row in rows)
    report = kept.with_suffix(".md").read_text()
    assert f"| default | 6 | {rows[0]['cpu_minutes']:.1f} | {rows[0]['cer']:.2%} |" in report
    assert kept.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_kraken_is_asked(lines: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ketos = tmp_path / "ketos"
    ketos.write_text(KETOS)
    ketos.chmod(0o755)
    run(monkeypatch, "--data", lines, "--only", "kraken", "--ketos", ketos, "--rates", "0.01", "--epochs", "3")
    (row,) = json.loads(kept.read_text())["rows"]
    assert (row["cer"], row["wer"], row["rate"], row["epochs"], row["lines"]) == (0.375, 0.75, 0.01, 3, 6)
    train, test = (tmp_path / "asked").read_text().splitlines()
    assert "-r 0.01" in train
    assert test.split()[4].endswith("best_0.9.safetensors")
    listed = (tmp_path / "runs" / "digits" / "kraken-test.txt").read_text().splitlines()
    assert [Path(path).parent.name for path in listed] == ["test"] * 3


def test_what_kraken_does_not_say_is_missed() -> None:
    with pytest.raises(ValueError, match="expected kraken's character and word accuracy, got 'nothing'"):
        handwriting_kraken.rates("nothing")


def test_seeds_are_put_together() -> None:
    one: Row = {"model": "default", "minutes": 5, "seed": 0, "lines": 10, "cpu_minutes": 5.0, "epochs": 2.0}
    rates = {"wer": 0.5, "cer_interval": [0.1, 0.3], "parameters": 7}
    rows = [
        {**one, **rates, "cer": 0.1},
        {**one, **rates, "seed": 1, "cer": 0.2},
        {**one, **rates, "minutes": 9, "cer": 0.3},
    ]
    found = table(rows, "peraire").splitlines()[2:]
    assert [line.split("|")[4].strip() for line in found] == ["15.00% (10.00% .. 20.00%)", "30.00%", "4.62%"]
    assert found[0].split("|")[-2].strip() == "2"
