"""Four directions at once: ``python -m benchmarks.directions [--quick] [--threads 1 2]``.

Every kernel in all four directions and in one, beside the floor, ``nn.LSTM`` of as many sites and FLOPs, and wavefronts in JAX and compiled
by torch. The plain kernel is the wavefront as one writes it in torch: one gather, one product and the gates a step, all directions in one
batch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.fields import Field, Size, entry, kernels
from benchmarks.harness import (
    Budget,
    Contestant,
    Row,
    Settings,
    as_kept,
    markdown_table,
    measure,
    number,
    on_threads,
    ratio,
    settings_from,
    spread,
    watched,
    write_results,
)
from benchmarks.opponents import floor, flops, lstm
from benchmarks.peak import peak
from benchmarks.shares import PEAKS, missing_here, missing_line, with_share
from benchmarks.wavefronts import wavefronts

SIZES = (
    Size(16, (32, 32), 16, 64, "all"),
    Size(8, (28, 28), 1, 32, "all"),
    Size(1, (48, 512), 1, 16, "all"),
    Size(4, (64, 64), 32, 128, "all"),
)
MODES = ("training", "inference")
BUDGET, QUICK_BUDGET = Budget(4.0), Budget(0.5, least=2, most=10)


def line_up(size: Size, *, training: bool, quick: bool) -> list[Contestant]:
    """Every kernel in four directions and in one, and the others in four."""
    four, one = Field(size), Field(replace(size, directions=None))
    names = kernels(size)
    return [
        floor(size, training=training),
        *(entry(four, name, training=training) for name in names),
        lstm(size, training=training),
        *wavefronts(four, training=training, quick=quick),
        *(replace(entry(one, name, training=training), name=f"{name}, one") for name in names),
        peak(flops(size) * (3 if training else 1)),
    ]


def measure_size(size: Size, mode: str, threads: int, *, quick: bool) -> Row:
    """Check and time at one size."""
    with on_threads(threads):
        line = line_up(size, training=mode == "training", quick=quick)
        contestants = as_kept(measure(line, QUICK_BUDGET if quick else BUDGET))
    return {
        "size": size.as_kept(),
        "mode": mode,
        "threads": threads,
        "floor_flops": flops(size) * (3 if mode == "training" else 1),
        "contestants": contestants,
        "missing": missing_here(contestants, quick=quick),
    }


def table(results: dict[str, Any]) -> str:
    """Markdown: the best kernel's milliseconds and share of the peak, times of the others over it, and of four directions over one."""
    names = [name for name in results["rows"][0]["contestants"] if not name.endswith(", one") and name not in PEAKS]
    one = [name for name in names if f"{name}, one" in results["rows"][0]["contestants"]]
    best, others = one[0], [name for name in names if name != one[0]]
    lines = []
    for row in results["rows"]:
        seconds = {name: found["seconds"] for name, found in row["contestants"].items()}
        over_best = [number(ratio(seconds[name], seconds[best]).median) for name in others]
        over_one = [number(ratio(seconds[name], seconds[f"{name}, one"]).median) for name in one]
        milliseconds = with_share(number(spread(seconds[best]).median * 1e3), row, best)
        lines.append([row["size"]["label"], row["mode"], str(row["threads"]), milliseconds, *over_best, *over_one])
    head = ["N x HxW, C to h", "", "threads", f"{best}, ms", *(f"{name} / {best}" for name in others)]
    found = markdown_table([*head, *(f"{name}: four / one" for name in one)], lines, left=2)
    return "\n\n".join(filter(None, [found, missing_line(results["rows"])]))


def run(settings: Settings) -> dict[str, Any]:
    """Measure, print, keep."""
    sizes = SIZES[1:3] if settings.quick else SIZES
    cases = [(size, mode, threads) for threads in settings.threads for mode in MODES for size in sizes]
    watching = watched(cases, "directions")
    rows = [measure_size(size, mode, threads, quick=settings.quick) for size, mode, threads in watching]
    results = write_results(settings.folder / "directions.json", "directions", rows, quick=settings.quick)
    print("In four directions:\n")
    print(table(results))
    return results


if __name__ == "__main__":
    run(settings_from(None, __doc__))
