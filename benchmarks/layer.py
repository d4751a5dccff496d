"""Every backend beside the floor and other ways to compute as much: ``python -m benchmarks.layer [--quick] [--threads 1 2]``.

One direction, float32, channels last, biases, gradients of input and parameters. ``nn.LSTM`` runs H + W - 1 steps on as many sites and
features such that the FLOPs agree as nearly as whole numbers allow. Wavefronts in JAX and compiled by torch take the layer's own weights.
The loop over sites runs on at most 1024 lattice points, its time is
multiplied up to the whole. A contestant whose one run takes more than two seconds is measured in one pass, and marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.fields import Field, Size, entries
from benchmarks.harness import (
    Budget,
    Contestant,
    Row,
    Settings,
    Spread,
    as_kept,
    geometric_mean,
    markdown_table,
    measure,
    number,
    on_threads,
    ratio,
    settings_from,
    spread,
    table_by_mode,
    watched,
    write_results,
)
from benchmarks.opponents import floor, flops, lstm, lstm_flop_ratio, lstm_size, site_loop
from benchmarks.peak import peak
from benchmarks.shares import PEAKS, floor_made_of, libraries_table, missing_here, missing_line, with_share
from benchmarks.wavefronts import wavefronts

SIZES = (
    Size(16, (8, 8), 26, 64),
    Size(32, (28, 28), 1, 32),
    Size(16, (32, 32), 16, 64),
    Size(8, (64, 64), 32, 128),
    Size(1, (32, 1024), 1, 16),
    Size(4, (256, 256), 3, 32),
    Size(1, (64, 64), 64, 512),
)
MODES = ("training", "inference")
# Those on which a step takes well under a second.
QUICK_SIZES = (SIZES[0], SIZES[1], SIZES[4])
BUDGET, QUICK_BUDGET = Budget(4.0), Budget(0.4, most=10)


def line_up(field: Field, *, training: bool, quick: bool) -> list[Contestant]:
    """All contestants on one field."""
    size = field.size
    return [
        floor(size, training=training),
        *entries(field, training=training),
        lstm(size, training=training),
        *wavefronts(field, training=training, quick=quick),
        site_loop(field, training=training),
        peak(flops(size) * (3 if training else 1)),
    ]


def measure_field(field: Field, mode: str, threads: int, *, quick: bool) -> Row:
    """Check and time everything on one field."""
    size = field.size
    with on_threads(threads):
        line = line_up(field, training=mode == "training", quick=quick)
        contestants = as_kept(measure(line, QUICK_BUDGET if quick else BUDGET))
    steps, batch, features = lstm_size(size)
    return {
        "size": size.as_kept(),
        "mode": mode,
        "threads": threads,
        "floor_flops": flops(size) * (3 if mode == "training" else 1),
        "lstm": {"steps": steps, "batch": batch, "features": features, "flop_ratio": lstm_flop_ratio(size)},
        "contestants": contestants,
        "missing": missing_here(contestants, quick=quick),
    }


def ratios(row: Row) -> dict[str, Spread]:
    """Every contestant's time over the floor's."""
    seconds = {name: found["seconds"] for name, found in row["contestants"].items() if name not in PEAKS}
    return {name: ratio(samples, seconds["floor"]) for name, samples in seconds.items() if name != "floor"}


def tables(results: dict[str, Any]) -> str:
    """Markdown: times the floor, a table for each mode and number of threads; then for each mode what more threads bring."""
    parts = []
    groups = dict.fromkeys((row["mode"], row["threads"]) for row in results["rows"])
    for mode, threads in groups:
        rows = [row for row in results["rows"] if (row["mode"], row["threads"]) == (mode, threads)]
        plural = "thread" if threads == 1 else "threads"
        parts.append(
            f"**{mode.capitalize()}, {threads} {plural}**: time over the floor's, share of the peak\n\n{_table(rows)}"
        )
    modes = dict.fromkeys(mode for mode, _ in groups)
    if len(modes) < len(groups):
        for mode in modes:
            rows = [row for row in results["rows"] if row["mode"] == mode]
            parts.append(f"**{mode.capitalize()}**: milliseconds, and how many times faster\n\n{_threads_table(rows)}")
    if libraries := libraries_table(results["rows"]):
        parts.append(f"**The floor**: the best of every library at its products, GFLOP/s\n\n{libraries}")
    return "\n\n".join(filter(None, [*parts, missing_line(results["rows"])]))


def summary(results: dict[str, Any]) -> str:
    """Markdown: our best kernel over the floor, its share of the peak, ``nn.LSTM`` over the floor in brackets, by mode and threads."""
    rows = results["rows"]
    best = next(name for name in rows[0]["contestants"] if name != "floor")

    def times(row: Row) -> list[float]:
        return [ratios(row)[name].median for name in (best, "nn.LSTM")]

    def cell(row: Row) -> str:
        ours, theirs = times(row)
        return f"{with_share(number(ours), row, best)} ({number(theirs)})"

    def mean(column: Sequence[Row]) -> str:
        ours, theirs = (geometric_mean(values) for values in zip(*map(times, column), strict=True))
        return f"{number(ours)} ({number(theirs)})"

    return table_by_mode("N x HxW, C to h", rows, cell, mean)


def _threads_table(rows: Sequence[Row]) -> str:
    """One mode: a column for each contestant and number of threads."""
    counts = sorted({row["threads"] for row in rows})
    everywhere = set.intersection(*(set(row["contestants"]) for row in rows)) - {"site loop", "composite", *PEAKS}
    names = [name for name in rows[0]["contestants"] if name in everywhere]
    lines = []
    for label in dict.fromkeys(row["size"]["label"] for row in rows):
        by_threads = {row["threads"]: row["contestants"] for row in rows if row["size"]["label"] == label}
        cells = []
        for name in names:
            medians = [spread(by_threads[count][name]["seconds"]).median for count in counts]
            cells += [number(medians[0] * 1e3), *(f"{number(m * 1e3)} (x {medians[0] / m:.2f})" for m in medians[1:])]
        lines.append([label, *cells])
    return markdown_table(["N x HxW, C to h", *(f"{name}, {count}" for name in names for count in counts)], lines)


def _table(rows: Sequence[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in ratios(row)))
    head = ["N x HxW, C to h", "floor, ms", "its libraries", *names, "FLOPs of nn.LSTM"]
    lines = []
    for row in rows:
        found = ratios(row)
        cells = [with_share(_cell(found[name]), row, name) if name in found else "" for name in names]
        milliseconds = with_share(number(spread(row["contestants"]["floor"]["seconds"]).median * 1e3), row, "floor")
        label, ratio_of_flops = row["size"]["label"], f"x {row['lstm']['flop_ratio']:.3f}"
        lines.append([label, milliseconds, floor_made_of(row), *cells, ratio_of_flops])
    means = [_mean([found[name].median for found in map(ratios, rows) if name in found], len(rows)) for name in names]
    return markdown_table(head, [*lines, ["geometric mean", "", "", *means, ""]])


def _mean(values: list[float], sizes: int) -> str:
    """The geometric mean of a contestant that ran at every size."""
    return number(geometric_mean(values)) if len(values) == sizes else ""


def _cell(found: Spread) -> str:
    middle = number(found.median)
    if found.lower == found.upper:
        return f"{middle} (one pass)"
    return f"{middle} ({number(found.lower)} .. {number(found.upper)})"


def run(settings: Settings) -> dict[str, Any]:
    """Measure all sizes, print the tables, keep the figures."""
    sizes = QUICK_SIZES if settings.quick else SIZES
    rows = []
    for size in watched(sizes, "layer"):
        field = Field(size, whole=not settings.quick)
        rows += [
            measure_field(field, mode, threads, quick=settings.quick) for threads in settings.threads for mode in MODES
        ]
    results = write_results(settings.folder / "layer.json", "layer", rows, quick=settings.quick)
    print(tables(results))
    return results


if __name__ == "__main__":
    run(settings_from(None, __doc__))
