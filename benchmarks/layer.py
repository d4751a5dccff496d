"""Every backend beside the floor, ``nn.LSTM`` and the loop over sites: ``python -m benchmarks.layer [--quick] [--threads 1 2]``.

One direction, float32, channels last, biases, gradients of input and parameters. ``nn.LSTM`` runs H + W - 1 steps on as many sites and
features such that the FLOPs agree as nearly as whole numbers allow. The loop over sites runs on at most 1024 lattice points, its time is
multiplied up to the whole. A contestant whose one run takes more than two seconds is measured in one pass, and marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from benchmarks.fields import Field, Size, entries
from benchmarks.harness import (
    Budget,
    Contestant,
    Row,
    Settings,
    Spread,
    geometric_mean,
    markdown_table,
    measure,
    number,
    ratio,
    settings_from,
    spread,
    watched,
    write_results,
)
from benchmarks.opponents import floor, flops, lstm, lstm_flop_ratio, lstm_size, site_loop

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


def line_up(field: Field, *, training: bool) -> list[Contestant]:
    """All contestants on one field."""
    size = field.size
    return [
        floor(size, training=training),
        *entries(field, training=training),
        lstm(size, training=training),
        site_loop(field, training=training),
    ]


def measure_field(field: Field, mode: str, threads: int, budget: Budget) -> Row:
    """Check and time everything on one field."""
    size, before = field.size, torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = measure(line_up(field, training=mode == "training"), budget)
    finally:
        torch.set_num_threads(before)
    steps, batch, features = lstm_size(size)
    return {
        "size": asdict(size) | {"label": size.label},
        "mode": mode,
        "threads": threads,
        "floor_flops": flops(size) * (3 if mode == "training" else 1),
        "lstm": {"steps": steps, "batch": batch, "features": features, "flop_ratio": lstm_flop_ratio(size)},
        "contestants": {name: asdict(measurement) for name, measurement in found.items()},
    }


def ratios(row: Row, base: str = "floor") -> dict[str, Spread]:
    """Every contestant's time over the floor's."""
    seconds = {name: found["seconds"] for name, found in row["contestants"].items()}
    return {name: ratio(samples, seconds[base]) for name, samples in seconds.items() if name != base}


def tables(results: dict[str, Any]) -> str:
    """Markdown: times the floor, a table for each mode and number of threads; then for each mode what more threads bring."""
    parts = []
    groups = dict.fromkeys((row["mode"], row["threads"]) for row in results["rows"])
    for mode, threads in groups:
        rows = [row for row in results["rows"] if (row["mode"], row["threads"]) == (mode, threads)]
        plural = "thread" if threads == 1 else "threads"
        parts.append(f"**{mode.capitalize()}, {threads} {plural}**: time over the floor's\n\n{_table(rows)}")
    modes = dict.fromkeys(mode for mode, _ in groups)
    if len(modes) < len(groups):
        for mode in modes:
            rows = [row for row in results["rows"] if row["mode"] == mode]
            parts.append(f"**{mode.capitalize()}**: milliseconds, and how many times faster\n\n{_threads_table(rows)}")
    return "\n\n".join(parts)


def summary(results: dict[str, Any]) -> str:
    """Markdown: our best kernel over the floor, ``nn.LSTM`` in brackets, one column for each mode and number of threads."""
    rows = results["rows"]
    best = next(name for name in rows[0]["contestants"] if name != "floor")
    groups = list(dict.fromkeys((row["mode"], row["threads"]) for row in rows))
    pairs = {(row["size"]["label"], row["mode"], row["threads"]): ratios(row) for row in rows}

    def cell(ours: float, theirs: float) -> str:
        return f"{number(ours)} ({number(theirs)})"

    lines, columns = [], {group: [found for key, found in pairs.items() if key[1:] == group] for group in groups}
    for label in dict.fromkeys(key[0] for key in pairs):
        found = [pairs[(label, *group)] for group in groups]
        lines.append([label, *(cell(f[best].median, f["nn.LSTM"].median) for f in found)])
    means = [[geometric_mean([f[name].median for f in columns[g]]) for name in (best, "nn.LSTM")] for g in groups]
    lines.append(["geometric mean", *(cell(*pair) for pair in means)])
    head = [f"{mode}, {threads} thread{'' if threads == 1 else 's'}" for mode, threads in groups]
    return markdown_table(["N x HxW, C to h", *head], lines)


def _threads_table(rows: Sequence[Row]) -> str:
    """One mode: a column for each contestant and number of threads."""
    counts = sorted({row["threads"] for row in rows})
    everywhere = set.intersection(*(set(row["contestants"]) for row in rows)) - {"site loop", "composite"}
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
    head = ["N x HxW, C to h", "floor, ms", *names, "FLOPs of nn.LSTM"]
    lines = []
    for row in rows:
        found = ratios(row)
        cells = [_cell(found.get(name)) for name in names]
        milliseconds = number(spread(row["contestants"]["floor"]["seconds"]).median * 1e3)
        lines.append([row["size"]["label"], milliseconds, *cells, f"x {row['lstm']['flop_ratio']:.3f}"])
    means = [_mean([found[name].median for found in map(ratios, rows) if name in found], len(rows)) for name in names]
    return markdown_table(head, [*lines, ["geometric mean", "", *means, ""]])


def _mean(values: list[float], sizes: int) -> str:
    """The geometric mean of a contestant that ran at every size."""
    return number(geometric_mean(values)) if len(values) == sizes else ""


def _cell(found: Spread | None) -> str:
    if found is None:
        return ""
    middle = number(found.median)
    if found.lower == found.upper:
        return f"{middle} (one pass)"
    return f"{middle} ({number(found.lower)} .. {number(found.upper)})"


def run(settings: Settings) -> dict[str, Any]:
    """Measure all sizes, print the tables, keep the figures."""
    budget = QUICK_BUDGET if settings.quick else BUDGET
    sizes = QUICK_SIZES if settings.quick else SIZES
    rows = []
    for size in watched(sizes, "layer"):
        field = Field(size, whole=not settings.quick)
        rows += [measure_field(field, mode, threads, budget) for threads in settings.threads for mode in MODES]
    results = write_results(settings.folder / "layer.json", "layer", rows, quick=settings.quick)
    print(tables(results))
    return results


if __name__ == "__main__":
    run(settings_from(None, __doc__))
