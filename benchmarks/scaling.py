"""Time and memory against size: ``python -m benchmarks.scaling [--quick]``.

A training step, float32, one thread, every backend, against the number of sites (one square image of 16 features, 10^3 to 10^7 sites), the
hidden size, the batch, the axes (1, 2, 3, 1024 sites each) and the directions (1, 4, short steps and long ones). A backend leaves a series
once a step at the next point is expected to take longer than a step may, or more than most of the memory there is; where and why is kept
and told. Prints growth exponents: 1 is linear. Memory as in :mod:`benchmarks.memory`, up to 3 10^6 sites.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks import memory
from benchmarks.fields import Field, Size, entry, kernels
from benchmarks.harness import (
    Budget,
    Measurement,
    Row,
    Settings,
    as_kept,
    growth_exponent,
    markdown_table,
    measure,
    number,
    on_threads,
    settings_from,
    spread,
    watched,
    write_results,
)
from benchmarks.harness.machine import available_memory

SIDES: tuple[int, ...] = (32, 56, 100, 178, 316, 562, 1000, 1778, 3163)
SERIES: dict[str, list[tuple[int, Size]]] = {
    "sites": [(side**2, Size(1, (side, side), 3, 16)) for side in SIDES],
    "hidden size": [(h, Size(4, (32, 32), 16, h)) for h in (8, 16, 32, 64, 128, 256, 512)],
    "batch": [(n, Size(n, (32, 32), 3, 32)) for n in (1, 2, 4, 8, 16, 32, 64, 128, 256)],
    "axes": [(n, Size(16, extents, 16, 32)) for n, extents in ((3, (16, 8, 8)), (2, (32, 32)), (1, (1024,)))],
    "directions, short steps": [(d, Size(1, (32, 32), 3, 32, name)) for d, name in ((1, None), (4, "all"))],
    "directions, long steps": [(d, Size(16, (32, 32), 3, 32, name)) for d, name in ((1, None), (4, "all"))],
}
QUICK_POINTS = 4


@dataclass(frozen=True)
class Limits:
    """How long a point is timed, the longest step in seconds, and the largest memory."""

    budget: Budget
    step: float
    bytes: float


def measure_series(name: str, points: list[tuple[int, Size]], limits: Limits) -> Iterator[Row]:
    """Time every backend at the points it gets to, checked at each on (at least) a corner of the field."""
    left: dict[str, str] = {}
    found: dict[str, Measurement] = {}
    before = points[0][1]
    for x, size in points:
        racing = [backend for backend in [*kernels(size), "composite"] if backend not in left]
        reasons = {backend: _too_much(backend, size, before, found.get(backend), limits) for backend in racing}
        left |= {backend: reason for backend, reason in reasons.items() if reason}
        racing = [backend for backend in racing if backend not in left]
        found = {}
        if racing:
            field = Field(size, whole=size.directions is not None)
            for backend in racing:  # one after the other: large tables of one would push out those of the other
                found |= measure([entry(field, backend, training=True)], limits.budget)
            del field
        before = size
        yield {
            "series": name,
            "x": x,
            "size": size.as_kept() | {"sites": size.sites},
            "contestants": as_kept(found),
            "left_out": dict(left),
        }


def _too_much(backend: str, size: Size, before: Size, found: Measurement | None, limits: Limits) -> str | None:
    """Why a step is not tried, judged from the step at the point before; None where it is short and small enough."""
    needed = _bytes(backend, size)
    if needed > limits.bytes:
        return f"{needed / 1e9:.2g} GB expected, {limits.bytes / 1e9:.2g} GB allowed"
    if found is None:
        return None
    seconds = spread(found.seconds).median * (size.sites * size.hidden**2) / (before.sites * before.hidden**2)
    return f"{seconds:.2g} s expected, {limits.step:g} s allowed" if seconds > limits.step else None


def _bytes(backend: str, size: Size) -> int:
    """What a step may take: somewhat more than was measured."""
    per_unit = {"composite": 150, "cpp": 45}.get(backend, 80)
    return per_unit * size.sites * size.hidden * (4 if size.directions else 1)


def measure_memory(sides: tuple[int, ...], limit: float) -> list[Row]:
    """Peak memory against the number of sites, every backend and mode."""
    rows = []
    for side in watched(sides, "scaling: memory"):
        size = Size(1, (side, side), 3, 16)
        fits = [mode for mode in memory.modes(size) if _bytes(mode.backend, size) <= limit]
        rows.append({"series": "memory", "x": side**2} | memory.row(size, memory.peaks(size, fits)))
    return rows


def over_one_direction(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Per series of directions and contestant, the time of four directions over that of one."""
    found: dict[str, dict[str, float]] = {}
    for series in dict.fromkeys(row["series"] for row in rows if row["series"].startswith("directions")):
        curves = curves_of(rows, series)
        found[series] = {name: y[-1] / y[0] for name, (_, y) in curves.items() if len(y) == 2}
    return found


def left_out(rows: list[Row]) -> list[str]:
    """One line for each series and backend that was not taken to its end."""
    first: dict[tuple[str, str], str] = {}
    for row in rows:
        for backend, reason in row.get("left_out", {}).items():
            first.setdefault((row["series"], backend), f"from {row['x']:,} on ({reason})")
    return [f"{series}: {backend} not run {where}." for (series, backend), where in first.items()]


def exponents(rows: list[Row]) -> list[list[str]]:
    """Lines of a table: series, contestant, growth exponent over all points and over the upper half."""
    lines = []
    for series in dict.fromkeys(row["series"] for row in rows):
        curves = curves_of(rows, series)
        for name, (x, y) in curves.items():
            if len(x) > 2 and series != "axes":
                upper = len(x) // 2
                lines.append(
                    [series, name, *(f"{growth_exponent(x[s:], y[s:]):.2f}" for s in (0, min(upper, len(x) - 2)))]
                )
    return lines


def curves_of(rows: list[Row], series: str) -> dict[str, tuple[list[float], list[float]]]:
    """Per contestant, x and the seconds of a step (in the series ``memory``, bytes)."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for row in (row for row in rows if row["series"] == series):
        values = (
            {name: float(found["later"]) for name, found in row["peaks"].items()}
            if series == "memory"
            else {name: spread(found["seconds"]).median for name, found in row["contestants"].items()}
        )
        for name, value in values.items():
            x, y = curves.setdefault(name, ([], []))
            x.append(row["x"])
            y.append(value)
    return curves


def tables(results: dict[str, Any]) -> str:
    """Markdown: time per site at every point, what was left out, four directions over one, memory, and how they grow."""
    rows = results["rows"]
    timed = [row for row in rows if "contestants" in row]
    names = list(dict.fromkeys(name for row in timed for name in row["contestants"]))
    lines = []
    for row in timed:
        seconds = {name: spread(found["seconds"]).median for name, found in row["contestants"].items()}
        cells = [number(seconds[n] / row["size"]["sites"] * 1e6) if n in seconds else "" for n in names]
        lines.append([row["series"], row["size"]["label"], f"{row['x']:,}", *cells])
    parts = ["Microseconds per site (of all directions together), a training step:"]
    parts.append(markdown_table(["series", "N x S, C to h", "x", *names], lines, left=2))
    if gone := left_out(rows):
        parts.append("\n".join(f"- {line}" for line in gone))
    four = over_one_direction(rows)
    beside = [[series, *(number(found[n]) if n in found else "" for n in names)] for series, found in four.items()]
    parts += ["Time of four directions over that of one:", markdown_table(["", *names], beside)]
    kept = [row for row in rows if row["series"] == "memory"]
    parts += ["Memory, bytes per site and hidden unit:", memory.table({"rows": kept})]
    parts += ["Growth exponents (1 is linear):"]
    parts.append(markdown_table(["against", "", "all points", "upper half"], exponents(rows), left=2))
    return "\n\n".join(parts)


def run(settings: Settings) -> dict[str, Any]:
    """Measure, print, keep."""
    if settings.quick:
        limits, sides = Limits(Budget(0.2, least=2, most=5), 0.5, 1e9), SIDES[2:5:2]
    else:
        # a first run writes to new memory, which may take longest
        limits, sides = Limits(Budget(1.0, patience=15.0), 15.0, 0.7 * available_memory()), SIDES[1:8:2]
    rows: list[Row] = []
    with on_threads(1):
        for name, points in SERIES.items():
            kept = points[:QUICK_POINTS] if settings.quick else points
            rows += watched(measure_series(name, kept, limits), f"scaling: {name}", len(kept))
    rows += measure_memory(sides, limits.bytes)
    results = write_results(settings.folder / "scaling.json", "scaling", rows, quick=settings.quick)
    print(tables(results))
    return results


if __name__ == "__main__":
    run(settings_from(None, __doc__))
