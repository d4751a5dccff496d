"""Every benchmark once on something tiny, and what each of them draws and measures."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from benchmarks import (
    bfloat16,
    directions,
    layer,
    memory,
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
from benchmarks.fields import Size
from benchmarks.harness import Settings, read_results
from benchmarks.opponents import flops
from tests.benchmark_cases import SIZE, TINY

# Benchmarks that are not part of all: one needs a wheel, one is of handwriting.
ALONE = ("prebuilt", "recognizer")


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
    for module in (layer, directions, sequences, bfloat16, ragged):
        monkeypatch.setattr(module, "QUICK_BUDGET", TINY)
    settings = Settings(tmp_path / "machine", (1,), True)
    before = torch.get_num_threads()
    for benchmark in (layer, directions, shapes, sequences, bfloat16, ragged, memory, scaling):
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


def test_what_is_not_measured_is_told() -> None:
    points = [(n, Size(n, (3, 3), 2, 4)) for n in (1, 2)]
    rows = list(scaling.measure_series("batch", points, scaling.Limits(TINY, step=0.0, bytes=1e9)))
    assert rows[0]["contestants"].keys() == rows[1]["left_out"].keys() >= {"plain", "composite"}
    assert not rows[1]["contestants"]
    assert any(line.startswith("batch: plain not run from 2 on (") for line in scaling.left_out(rows))
    rows = list(scaling.measure_series("batch", points[:1], scaling.Limits(TINY, step=1.0, bytes=1.0)))
    assert "GB expected" in rows[0]["left_out"]["plain"]


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
