"""The benchmarks' harness, and every benchmark once on something tiny."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks import (
    blas,
    directions,
    fields,
    layer,
    memory,
    opponents,
    peak,
    plots,
    ragged,
    report,
    scaling,
    sequences,
    shapes,
    shares,
    wavefronts,
)
from benchmarks.blas import Product
from benchmarks.fields import Field, Size
from benchmarks.harness import (
    Budget,
    Contestant,
    Settings,
    WrongResultError,
    check,
    geometric_mean,
    growth_exponent,
    machine_name,
    markdown_table,
    measure,
    number,
    on_threads,
    ratio,
    read_results,
    replace_section,
    settings_from,
    spread,
    timing,
    write_results,
)
from benchmarks.opponents import flops, lstm_flop_ratio, lstm_size
from spatial_lstm.engine.kernels import KERNELS
from tests.cases import assert_close

TINY = Budget(0.0, least=2, most=2)
SIZE = Size(2, (4, 3), 3, 4)


def contestant(name: str, results: list[Tensor], expected: list[Tensor], **options: Any) -> Contestant:
    return Contestant(name, lambda: results, lambda: expected, **options)


# Benchmarks that are not part of all: one needs a wheel, one is of handwriting.
ALONE = ("prebuilt", "recognizer")


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
    with pytest.raises(SystemExit):
        settings_from(["--threads", "0"], None)
    capsys.readouterr()


@pytest.mark.parametrize("size", layer.SIZES, ids=lambda size: size.label)
def test_lstm_has_as_many_sites_and_flops(size: Size) -> None:
    steps, batch, _ = lstm_size(size)
    assert steps == sum(size.extents) - 1
    assert steps * batch == pytest.approx(size.sites, rel=0.05)
    assert lstm_flop_ratio(size) == pytest.approx(1, abs=0.05)
    assert flops(size) == 2 * size.sites * (size.channels + 2 * size.hidden) * 5 * size.hidden


def test_a_part_stands_for_the_whole() -> None:
    """States in the first corner depend on nothing else, so its gradients are those of the corner alone."""
    field = Field(Size(3, (40, 35), 2, 4), whole=False)
    assert field.part == Size(2, (32, 32), 2, 4)
    for one in fields.entries(field, training=True):
        assert check(one).error < 3e-5
    with pytest.raises(ValueError, match="all-forward"):
        Field(Size(1, (40, 40), 2, 4, "all"), whole=False)


def test_a_wrong_backend_is_refused() -> None:
    field = Field(SIZE)
    with torch.no_grad():
        field.weights["weight_hh_l0"][0, 0] += 1e-2
    wrong = fields.entry(field, "plain", training=True)
    field.weights["weight_hh_l0"][0, 0] -= 1e-2
    with pytest.raises(WrongResultError, match="plain"):
        check(wrong)


def test_every_benchmark_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of ``python -m benchmarks --quick`` on tiny sizes, and the documentation's section from it."""
    # What compiles takes its time, and has tests of its own.
    monkeypatch.setattr(wavefronts, "find_spec", lambda name: None)
    monkeypatch.setattr(peak, "_loop", lambda: None)
    monkeypatch.setattr(layer, "QUICK_SIZES", (SIZE, Size(1, (2, 9), 1, 3)))
    monkeypatch.setattr(shapes, "shapes", lambda count: iter([SIZE]))
    monkeypatch.setattr(shapes, "BUDGET", TINY)
    monkeypatch.setattr(sequences, "SIZES", (Size(2, (5,), 3, 4),))
    monkeypatch.setattr(ragged, "HEIGHTS", (2, 4))
    monkeypatch.setattr(ragged, "WIDTHS", (2, 9))
    monkeypatch.setattr(directions, "SIZES", (SIZE, Size(2, (4, 3), 3, 4, "all"), Size(1, (2, 9), 1, 3, "all")))
    series = [(1, SIZE), (4, Size(2, (4, 3), 3, 4, "all"))]
    monkeypatch.setattr(
        scaling,
        "SERIES",
        {"sites": [(s**2, Size(1, (s, s), 3, 4)) for s in (4, 6, 8)], "directions, short steps": series},
    )
    monkeypatch.setattr(memory, "modes", lambda size: [memory.Mode("plain", "plain")])
    monkeypatch.setattr(memory, "peak", lambda size, backend, recompute, saved_gates: memory.Peak(300, 200, 100))
    for module in (layer, directions, sequences, ragged):
        monkeypatch.setattr(module, "QUICK_BUDGET", TINY)
    settings = Settings(tmp_path / "machine", (1,), True)
    before = torch.get_num_threads()
    for benchmark in (layer, directions, shapes, sequences, ragged, memory, scaling):
        results = benchmark.run(settings)
        assert results["rows"]
    assert torch.get_num_threads() == before
    names = set(read_results(settings.folder / "layer.json")["rows"][0]["contestants"])
    assert {"floor", "plain", "plain, recompute", "composite", "nn.LSTM", "site loop"} <= names
    assert names & set(shares.PEAKS)
    for file in plots.draw(settings.folder):
        assert file.stat().st_size < 200_000
    text = report.write_report(settings.folder).read_text()
    assert all(title in text for name, (title, _) in report.TITLES.items() if name not in ALONE)
    section = report.section(settings.folder, tmp_path, "report.md")
    assert "machine/scaling.png" in section
    assert "geometric mean" in section
    told = capsys.readouterr().out
    assert "geometric mean" in told
    assert "Not measured: torch.compile: takes minutes to compile; JAX" in told


def test_a_floor_names_its_libraries() -> None:
    with on_threads(1):
        products = [
            Product(torch.randn(7, 5), torch.randn(5, 9)),
            Product(torch.randn(7, 5).t(), torch.randn(7, 9), False),
        ]
        for product in products:
            for way in blas.ways(product):
                assert_close([way.run()], [way.expected()])
            best, rates = blas.fastest(product)
            assert best.library in rates.keys() == blas.libraries().keys()
            assert rates[best.library] == max(rates.values())
        found = opponents.floor(SIZE, training=True)
    assert check(found).notes["won"] == found.notes["won"]
    assert len(found.notes["won"]) == 3


def test_the_peak_is_measured_without_a_compiler_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with on_threads(1):
        looped = peak.peak(1e9)
        monkeypatch.setattr(peak, "_loop", lambda: None)
        multiplied = peak.peak(1e9)
    assert multiplied.name == peak.PRODUCT
    for one in (looped, multiplied):
        assert check(one).seconds[0] > 0


def test_a_share_is_the_time_at_the_peak_over_the_time() -> None:
    contestants = {"floor": {"seconds": [2.0]}, "cpp": {"seconds": [4.0, 8.0]}, peak.FMA: {"seconds": [1.0, 2.0]}}
    assert shares.share({"contestants": contestants}, "cpp") == "25 %"
    assert shares.with_share("2", {"contestants": {"cpp": {"seconds": [4.0]}}}, "cpp") == "2"
    rows = [{"missing": ["a: no"]}, {"missing": ["a: no", "b: no"]}]
    assert shares.missing_line(rows) == "Not measured: a: no; b: no."
    assert shares.missing_line([{}]) == ""


@pytest.mark.parametrize("directions", [None, "all"])
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_wavefronts_of_others_compute_the_same(
    name: str, directions: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    field = Field(Size(2, (3, 5), 3, 4, directions))
    if name == "jax":
        pytest.importorskip("jax")
        from benchmarks.jax_wavefront import jitted

        other = jitted(field, training=True)
    else:
        other = wavefronts.compiled(field, training=True)
    assert check(other).error < 3e-6


def test_random_shapes_stay_within_their_bounds() -> None:
    drawn = list(shapes.shapes(50))
    assert drawn == list(shapes.shapes(50))
    assert drawn != list(shapes.shapes(50, seed=1))
    for size in drawn:
        assert flops(size) <= shapes.FLOPS
        assert sum(size.extents) <= shapes.STEPS
        values = (size.batch, *size.extents, size.channels, size.hidden)
        assert all(1 <= value <= most for value, most in zip(values, shapes.BOUNDS, strict=True))


def test_random_shapes_go_on_where_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [SIZE, Size(1, (1, 5), 2, 3)]
    monkeypatch.setattr(shapes, "shapes", lambda count: iter(small))
    monkeypatch.setattr(shapes, "BUDGET", TINY)
    settings = Settings(tmp_path, (1,), True)
    first = shapes.run(settings)
    assert [(row["size"]["label"], row["mode"]) for row in first["rows"]] == [
        (size.label, mode) for size in small for mode in shapes.MODES
    ]
    small.append(Size(2, (3, 1), 1, 2))
    later = shapes.run(settings)
    assert len(later["rows"]) == 6
    assert later["rows"][0]["contestants"] == read_results(tmp_path / "shapes.json")["rows"][0]["contestants"]
    assert "quantiles" in capsys.readouterr().out


def test_where_we_are_behind_is_told() -> None:
    row = {"mode": "training", "threads": 1, "flop_ratio": 1.0, "size": {"label": "small"}}
    rows = [row | {"contestants": {"cpp": {"seconds": [ours]}, "nn.LSTM": {"seconds": [1.0]}}} for ours in (0.5, 1.2)]
    text = shapes.tables({"rows": rows})
    assert "1 of 2 |" in text
    assert "| small | training | 1 | 1,200 | 1,000 | 1.20 | x 1.00 |" in text


def test_threads_stand_side_by_side() -> None:
    contestants = {"floor": {"seconds": [2e-3]}, "plain": {"seconds": [4e-3]}, "nn.LSTM": {"seconds": [3e-3]}}
    row = {"size": {"label": "small"}, "mode": "training", "lstm": {"flop_ratio": 1.0}}
    faster = {name: {"seconds": [found["seconds"][0] / 2]} for name, found in contestants.items()}
    rows = [row | {"threads": 1, "contestants": contestants}, row | {"threads": 2, "contestants": faster}]
    text = layer.tables({"rows": rows})
    assert "| N x HxW, C to h | floor, 1 | floor, 2 | plain, 1 | plain, 2 | nn.LSTM, 1 | nn.LSTM, 2 |" in text
    assert "| small | 2.00 | 1.00 (x 2.00) | 4.00 | 2.00 (x 2.00) | 3.00 | 1.50 (x 2.00) |" in text


def test_kernels_that_do_not_suit_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(KERNELS["plain"]), "unsuited", lambda self, problem: "expected another device")
    assert "plain" not in fields.kernels(SIZE)
    monkeypatch.undo()
    assert "plain" in fields.kernels(SIZE)


def test_what_is_not_measured_is_told() -> None:
    points = [(n, Size(n, (3, 3), 2, 4)) for n in (1, 2)]
    rows = list(scaling.measure_series("batch", points, scaling.Limits(TINY, step=0.0, bytes=1e9)))
    assert rows[0]["contestants"].keys() == rows[1]["left_out"].keys() >= {"plain", "composite"}
    assert not rows[1]["contestants"]
    assert any(line.startswith("batch: plain not run from 2 on (") for line in scaling.left_out(rows))
    rows = list(scaling.measure_series("batch", points[:1], scaling.Limits(TINY, step=1.0, bytes=1.0)))
    assert "GB expected" in rows[0]["left_out"]["plain"]


def test_the_documentation_needs_figures(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run the benchmarks first"):
        report.section(tmp_path, tmp_path, "report.md")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's own count")
def test_peak_memory_is_that_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """At least the output and gates of every site, at most what the composite was ever seen to take."""
    size = Size(2, (64, 64), 3, 32)
    found = memory.peak(size, "plain")
    units = size.sites * size.hidden
    assert 30 * units < found.later < 300 * units
    assert 0 < found.held <= found.later
    assert memory.per_unit(memory.row(size, {"plain": found}), "plain") == pytest.approx(found.later / units)
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(RuntimeError, match="exit status 1"):
        memory.peak(size, "plain")
    assert asdict(found).keys() == {"first", "later", "held"}
