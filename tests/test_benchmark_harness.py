"""The benchmarks' harness: checks, rounds, statistics, results, tables and its command line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.harness import (
    Budget,
    Contestant,
    WrongResultError,
    check,
    geometric_mean,
    growth_exponent,
    machine_name,
    markdown_table,
    measure,
    number,
    ratio,
    read_results,
    replace_section,
    settings_from,
    spread,
    timing,
    write_results,
)
from benchmarks.harness.machine import cpu_name
from tests.benchmark_cases import TINY


def contestant(name: str, results: list[Tensor], expected: list[Tensor], **options: Any) -> Contestant:
    return Contestant(name, lambda: results, lambda: expected, **options)


def test_statistics() -> None:
    assert spread([4.0, 1.0, 2.0, 3.0, 5.0]) == (2, 3, 4)
    assert spread([7.0]) == (7, 7, 7)
    with pytest.raises(ValueError, match="at least one sample"):
        spread([])
    # A round that was twice as slow for both changes nothing.
    assert ratio([3.0, 6.0, 3.0], [1.0, 2.0, 1.0]) == (3, 3, 3)
    assert ratio([8.0], [1.0, 2.0, 4.0]) == (4, 4, 4)
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2)
    assert growth_exponent([1, 10, 100], [5, 500, 50000]) == pytest.approx(2)
    with pytest.raises(ValueError, match="two points"):
        growth_exponent([1], [1])


def test_the_run_that_compiles_is_not_the_one_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def run() -> list[Tensor]:
        now[0] += 1.0 if now[0] else 100.0
        return [torch.ones(1)]

    def exactly() -> list[Tensor]:
        return [torch.ones(1, dtype=torch.float64)]

    assert check(Contestant("compiled", run, exactly, compiles=True)).seconds == [1.0]
    now[0] = 0.0
    assert check(Contestant("not", run, exactly)).seconds == [100.0]


def test_check_finds_the_largest_error() -> None:
    right = torch.tensor([1.0, -200.0])
    assert check(contestant("right", [right + torch.tensor([0.0, 2e-3])], [right.double()])).error == pytest.approx(
        1e-5, rel=0.1
    )


@pytest.mark.parametrize(
    "wrong",
    [torch.tensor([1.0, 2.1]), torch.tensor([1.0, torch.nan]), torch.tensor([1.0, torch.inf]), torch.tensor([1.0])],
    ids=["value", "nan", "inf", "shape"],
)
def test_nothing_is_timed_when_one_is_wrong(wrong: Tensor) -> None:
    expected, runs = [torch.tensor([1.0, 2.0])], []
    good = Contestant("good", lambda: runs.append(1) or expected, lambda: expected)
    with pytest.raises(WrongResultError, match="bad"):
        measure([good, contestant("bad", [wrong], [expected[0].double()])], TINY)
    assert len(runs) == 1  # the check's own


def test_rounds_are_interleaved_and_reversed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.harness.timing.SHORTEST_SAMPLE", 0.0)
    order: list[str] = []
    result = [torch.zeros(1)]
    three = [Contestant(n, lambda n=n: order.append(n) or result, lambda: result, scale=1 + (n == "c")) for n in "abc"]
    found = measure(three, Budget(0.0, least=2, most=5))
    assert "".join(order) == "abcabcabccba"  # checked, tried, two rounds
    assert [len(found[n].seconds) for n in "abc"] == [2, 2, 2]


def test_who_comes_after_one_that_lingers_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(timing, "SHORTEST_SAMPLE", 0.0)
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: order.append("-"))
    result = [torch.zeros(1)]
    two = [Contestant(n, lambda n=n: order.append(n) or result, lambda: result, lingers=n == "a") for n in "ab"]
    measure(two, Budget(0.0, least=1, most=1))
    assert "".join(order[2:]) == "a-ba-b"  # tried, one round


def test_a_slow_contestant_is_measured_once() -> None:
    result = [torch.zeros(1)]
    found = measure([contestant("slow", result, result)], Budget(0.0, least=2, most=2, patience=0.0))
    assert len(found["slow"].seconds) == 1


def test_results_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "machine" / "layer.json"
    rows = [{"size": {"extents": (8, 9)}, "seconds": [0.123456789, 2.0], "error": 1e-7, "name": "a [1, 2]"}]
    written = write_results(path, "layer", rows, quick=True)
    kept = read_results(path)
    assert kept["rows"] == [
        {"size": {"extents": [8, 9]}, "seconds": [0.123457, 2.0], "error": 1e-7, "name": "a [1, 2]"}
    ]
    assert kept["machine"] == written["machine"]
    assert kept["quick"] is True
    assert "[0.123457, 2.0]" in path.read_text()
    assert [p.name for p in path.parent.iterdir()] == ["layer.json"]
    told = json.dumps(kept["machine"])
    assert os.uname().nodename not in told
    assert str(Path.home()) not in told
    path.write_text("[]")
    with pytest.raises(ValueError, match="results of a benchmark"):
        read_results(path)


def test_tables_and_sections() -> None:
    assert markdown_table(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
    assert [number(v) for v in (0, 1.234, 12.34, 12345.6, 0.0123)] == ["0", "1.23", "12.3", "12,346", "0.0123"]
    text = "a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb"
    assert replace_section(text, "x", "new") == "a\n<!-- x:begin -->\nnew\n<!-- x:end -->\nb"
    with pytest.raises(ValueError, match="once each"):
        replace_section(text, "y", "new")


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_from(["--quick", "--threads", "1", "2", "--output", str(tmp_path)], None)
    assert (settings.quick, settings.threads, settings.folder.parent) == (True, (1, 2), tmp_path)
    assert "results" in settings_from([], None).folder.parts
    assert machine_name({"cpu": "A(R) B-7 @ 3", "cores": 2}) == "a-r-b-7-3-2-cores"
    assert cpu_name("cpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n") == "AMD EPYC, family 26"
    assert cpu_name("cpu family\t: 6\nmodel name\t: Xeon 8375C\n") == "Xeon 8375C"
    assert cpu_name("cpu family\t: 6\nmodel\t\t: 207\nmodel name\t: A Xeon\n") == "A Xeon, family 6, model 207"
    assert cpu_name("processor\t: 0\n") == ""
    with pytest.raises(SystemExit):
        settings_from(["--threads", "0"], None)
    capsys.readouterr()
