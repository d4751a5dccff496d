"""Random shapes beside ``nn.LSTM`` of equal sites and FLOPs: ``python -m benchmarks.shapes [--quick] [--threads 1 2]``.

Batch, extents, channels and features are drawn log-uniformly, one of three images a line of one row or column, from one seed; a shape that
takes too many FLOPs or steps is drawn again. Of every shape our best kernel's results are checked. Time is the CPU's where there is one
thread, for a clock's is not steady on a machine with other work, and a clock's else. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.fields import Field, Size, entry, kernels
from benchmarks.harness import (
    Budget,
    Row,
    Settings,
    as_kept,
    describe_machine,
    geometric_mean,
    markdown_table,
    measure,
    number,
    on_threads,
    ratio,
    read_results,
    settings_from,
    spread,
    watched,
    write_results,
)
from benchmarks.opponents import flops, lstm, lstm_flop_ratio

SHAPES, QUICK_SHAPES = 200, 6
SEED = 13
MODES = ("training", "inference")
# The largest of batch, extents, channels and features.
BOUNDS = (64, 512, 512, 128, 256)
# A forward's FLOPs and a grid's steps at most: a training step of a layer then takes at most some 50 ms.
FLOPS, STEPS = 6e8, 600
# The first run may take its time to load what is not there yet.
BUDGET = Budget(0.12, least=3, most=9, patience=math.inf)
# From here on we are behind.
BEHIND = 1.05
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


def shapes(count: int, seed: int = SEED) -> Iterator[Size]:
    """Draw sizes."""
    generator = random.Random(seed)
    while count:
        batch, *extents, channels, hidden = (round(math.exp(generator.uniform(0, math.log(most)))) for most in BOUNDS)
        thin = generator.randrange(6)
        if thin < 2:
            extents[thin] = 1
        size = Size(batch, tuple(extents), channels, hidden)
        if flops(size) <= FLOPS and sum(extents) <= STEPS:
            count -= 1
            yield size


def measure_shape(size: Size, threads: int) -> list[Row]:
    """Check and time at one size, training and inference."""
    clock: Callable[[], float] = time.process_time if threads == 1 else time.perf_counter
    rows = []
    with on_threads(threads):
        field = Field(size, whole=size.sites < 4096)
        best = kernels(size)[0]
        for mode in MODES:
            training = mode == "training"
            pair = [entry(field, best, training=training), lstm(size, training=training)]
            rows.append(
                {
                    "size": {k: v for k, v in size.as_kept().items() if v is not None},
                    "mode": mode,
                    "threads": threads,
                    "flops": flops(size) * (3 if training else 1),
                    "flop_ratio": lstm_flop_ratio(size),
                    "contestants": as_kept(measure(pair, BUDGET, clock)),
                }
            )
    return rows


def against_lstm(row: Row) -> float:
    """Our time over that of ``nn.LSTM`` at equal FLOPs: its own is scaled by what FLOPs it has too few or too many."""
    ours, theirs = (found["seconds"] for found in row["contestants"].values())
    equal: float = row["flop_ratio"]
    return ratio(ours, theirs).median * equal


def tables(results: dict[str, Any]) -> str:
    """Markdown: quantiles of the ratios, and every shape where we are behind."""
    parts = ["Time over that of `nn.LSTM`, quantiles of the shapes:", summary(results)]
    behind = [row for row in results["rows"] if against_lstm(row) >= BEHIND]
    if behind:
        parts += ["Where we are behind:", _behind_table(sorted(behind, key=against_lstm, reverse=True))]
    return "\n\n".join(parts)


def summary(results: dict[str, Any]) -> str:
    """Markdown: quantiles of the ratios."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in results["rows"]:
        groups.setdefault((row["mode"], row["threads"]), []).append(row)
    lines = []
    for (mode, threads), rows in groups.items():
        found = sorted(against_lstm(row) for row in rows)
        quantiles = [number(found[round(q * (len(found) - 1))]) for q in QUANTILES]
        behind = sum(over >= BEHIND for over in found)
        lines.append([mode, str(threads), *quantiles, number(geometric_mean(found)), f"{behind} of {len(rows)}"])
    head = ["", "threads", *(f"{q:.0%}" for q in QUANTILES), "geometric mean", f"{BEHIND - 1:.0%} or more behind"]
    return markdown_table(head, lines, left=2)


def _behind_table(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        ours, theirs = (spread(found["seconds"]).median for found in row["contestants"].values())
        figures = [number(ours * 1e3), number(theirs * 1e3), number(against_lstm(row))]
        lines.append([row["size"]["label"], row["mode"], str(row["threads"]), *figures, f"x {row['flop_ratio']:.2f}"])
    head = ["N x HxW, C to h", "", "threads", "ms", "nn.LSTM, ms", "ratio", "FLOPs of nn.LSTM"]
    return markdown_table(head, lines, left=2)


def _measured(path: Path, quick: bool) -> list[Row]:
    """The rows of a run that was stopped; none of one elsewhere, or of another commit."""
    if not path.exists():
        return []
    kept = read_results(path)
    same = (kept["quick"], kept["machine"]) == (quick, describe_machine())
    rows: list[Row] = kept["rows"] if same else []
    return rows


def run(settings: Settings) -> dict[str, Any]:
    """Measure, print, keep."""
    path = settings.folder / "shapes.json"
    rows = _measured(path, settings.quick)
    done = {(row["size"]["label"], row["threads"]) for row in rows}
    sizes = list(shapes(QUICK_SHAPES if settings.quick else SHAPES))
    cases = [(s, threads) for threads in settings.threads for s in sizes if (s.label, threads) not in done]
    results = write_results(path, "shapes", rows, quick=settings.quick)
    for size, threads in watched(cases, "shapes"):
        rows += measure_shape(size, threads)
        results = write_results(path, "shapes", rows, quick=settings.quick)
    print(tables(results))
    return results


if __name__ == "__main__":
    run(settings_from(None, __doc__))
