"""Four directions at once: ``python -m benchmarks.directions [--quick] [--threads 1 2]``.

Every kernel in all four directions and in one, a training step. The plain kernel is the wavefront as one writes it in torch: one gather,
one product and the gates a step, all directions in one batch.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import torch

from benchmarks.fields import Field, Size, entry, kernels
from benchmarks.harness import (
    Budget,
    Contestant,
    Row,
    Settings,
    markdown_table,
    measure,
    number,
    ratio,
    settings_from,
    spread,
    watched,
    write_results,
)

SIZES = (
    Size(16, (32, 32), 16, 64, "all"),
    Size(8, (28, 28), 1, 32, "all"),
    Size(1, (48, 512), 1, 16, "all"),
    Size(4, (64, 64), 32, 128, "all"),
)
BUDGET, QUICK_BUDGET = Budget(4.0), Budget(0.5, least=2, most=10)


def line_up(size: Size) -> list[Contestant]:
    """Every kernel in four directions and in one."""
    four, one = Field(size), Field(replace(size, directions=None))
    names = kernels(size)
    alone = [replace(entry(one, name, training=True), name=f"{name}, one") for name in names]
    return [*(entry(four, name, training=True) for name in names), *alone]


def measure_size(size: Size, threads: int, budget: Budget) -> Row:
    """Check and time at one size."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = measure(line_up(size), budget)
    finally:
        torch.set_num_threads(before)
    return {
        "size": asdict(size) | {"label": size.label},
        "threads": threads,
        "contestants": {name: asdict(measurement) for name, measurement in found.items()},
    }


def table(results: dict[str, Any]) -> str:
    """Markdown: the best kernel's milliseconds, times of the others over it, and of four directions over one."""
    names = [name for name in results["rows"][0]["contestants"] if not name.endswith(", one")]
    best, *others = names
    lines = []
    for row in results["rows"]:
        seconds = {name: found["seconds"] for name, found in row["contestants"].items()}
        slower = [number(ratio(seconds[name], seconds[best]).median) for name in others]
        over_one = [number(ratio(seconds[name], seconds[f"{name}, one"]).median) for name in names]
        milliseconds = number(spread(seconds[best]).median * 1e3)
        lines.append([row["size"]["label"], str(row["threads"]), milliseconds, *slower, *over_one])
    over_best = [f"{name} / {best}" for name in others]
    head = ["N x HxW, C to h", "threads", f"{best}, ms", *over_best, *(f"{name}: four / one" for name in names)]
    return markdown_table(head, lines)


def run(settings: Settings) -> dict[str, Any]:
    """Measure, print, keep."""
    budget, sizes = (QUICK_BUDGET, SIZES[1:3]) if settings.quick else (BUDGET, SIZES)
    cases = [(size, threads) for threads in settings.threads for size in sizes]
    rows = [measure_size(size, threads, budget) for size, threads in watched(cases, "directions")]
    results = write_results(settings.folder / "directions.json", "directions", rows, quick=settings.quick)
    print("A training step in four directions:\n")
    print(table(results))
    return results


if __name__ == "__main__":
    run(settings_from(None, __doc__))
