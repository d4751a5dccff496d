"""bfloat16 beside float32, and ``nn.LSTM`` in both: ``python -m benchmarks.bfloat16 [--quick] [--threads 1 2]``.

One direction, channels last, on the sizes of the layer's benchmark. Results in bfloat16 are checked against float64 on the same numbers.
``nn.LSTM`` has as many sites and FLOPs, as in ``benchmarks.layer``; the floor is the layer's products in bfloat16, all sites at once, by
torch (oneDNN).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.fields import Field, Size, entry, kernels
from benchmarks.harness import (
    Budget,
    Contestant,
    Row,
    Settings,
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
from benchmarks.layer import SIZES
from benchmarks.opponents import blocks, lstm, lstm_flop_ratio

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MODES = ("training", "inference")
QUICK_SIZES = (Size(2, (4, 5), 3, 8),)
BUDGET, QUICK_BUDGET = Budget(8.0, least=5), Budget(0.3, least=2, most=6)
OURS, THEIRS, FLOOR = "ours", "nn.LSTM", "floor"


def floor(size: Size, *, training: bool) -> Contestant:
    """The products alone, into memory that is there already."""
    n, generator = len(size.extents), torch.Generator().manual_seed(0)
    columns, rows = size.channels + n * size.hidden, blocks(n) * size.hidden
    shapes = (size.sites, columns), (columns, rows), (size.sites, rows)
    x, weight, dz = (torch.randn(shape, generator=generator).bfloat16() for shape in shapes)
    pairs = [(x, weight), (dz, weight.t()), (x.t(), dz)][: 3 if training else 1]
    outs = [torch.empty(a.shape[0], b.shape[1], dtype=torch.bfloat16) for a, b in pairs]

    def run() -> list[Tensor]:
        return [torch.mm(*pair, out=out) for pair, out in zip(pairs, outs, strict=True)]

    def expected() -> list[Tensor]:
        return [a.double() @ b.double() for a, b in pairs]

    return Contestant(FLOOR, run, expected)


def measure_size(size: Size, mode: str, threads: int, budget: Budget) -> Row:
    """Check and time at one size."""
    training = mode == "training"
    contestants = [floor(size, training=training)]
    with on_threads(threads):
        best = kernels(size)[0]
        for name, dtype in TYPES.items():
            field = Field(size, whole=size.sites < 4096, dtype=dtype)
            ours = entry(field, best, training=training)
            theirs = lstm(size, training=training, dtype=dtype)
            contestants += [replace(ours, name=f"{OURS}, {name}"), replace(theirs, name=f"{THEIRS}, {name}")]
        found = as_kept(measure(contestants, budget))
    return {
        "size": size.as_kept(),
        "mode": mode,
        "threads": threads,
        "flop_ratio": lstm_flop_ratio(size),
        "contestants": found,
    }


def table(results: dict[str, Any]) -> str:
    """Markdown: our milliseconds in bfloat16, how many times longer others take, and the products' part of them."""
    lines = []
    for mode, threads in dict.fromkeys((row["mode"], row["threads"]) for row in results["rows"]):
        rows = [row for row in results["rows"] if (row["mode"], row["threads"]) == (mode, threads)]
        found = [_times(row) for row in rows]
        for row, times in zip(rows, found, strict=True):
            ours = spread(row["contestants"][f"{OURS}, bfloat16"]["seconds"]).median * 1e3
            lines.append([row["size"]["label"], mode, str(threads), number(ours), *map(number, times)])
        means = [number(geometric_mean(column)) for column in zip(*found, strict=True)]
        lines.append(["geometric mean", mode, str(threads), "", *means])
    head = [
        "N x HxW, C to h",
        "",
        "threads",
        "bfloat16, ms",
        "float32 / bfloat16",
        "`nn.LSTM` in bfloat16 / ours",
        "`nn.LSTM`, float32 / bfloat16",
        "products alone / ours",
    ]
    return markdown_table(head, lines, left=2)


def summary(results: dict[str, Any]) -> str:
    """Markdown: how many times longer float32 takes, and in brackets ``nn.LSTM`` in bfloat16, for each mode and number of threads."""

    def cell(row: Row) -> str:
        float32, theirs, *_ = _times(row)
        return f"{number(float32)} ({number(theirs)})"

    return table_by_mode("N x HxW, C to h", results["rows"], cell)


def _times(row: Row) -> list[float]:
    """How many times longer: we in float32, ``nn.LSTM`` at equal FLOPs, that in float32 than in bfloat16, and the products alone."""
    seconds = {name: found["seconds"] for name, found in row["contestants"].items()}
    ours, theirs = seconds[f"{OURS}, bfloat16"], seconds[f"{THEIRS}, bfloat16"]
    return [
        ratio(seconds[f"{OURS}, float32"], ours).median,
        ratio(theirs, ours).median / row["flop_ratio"],
        ratio(seconds[f"{THEIRS}, float32"], theirs).median,
        ratio(seconds[FLOOR], ours).median,
    ]


def run(settings: Settings) -> dict[str, Any]:
    """Measure, print, keep."""
    budget, sizes = (QUICK_BUDGET, QUICK_SIZES) if settings.quick else (BUDGET, SIZES)
    cases = [(s, mode, t) for t in settings.threads for mode in MODES for s in sizes]
    rows = [measure_size(size, mode, threads, budget) for size, mode, threads in watched(cases, "bfloat16")]
    results = write_results(settings.folder / "bfloat16.json", "bfloat16", rows, quick=settings.quick)
    print("bfloat16 beside float32, and nn.LSTM:\n")
    print(table(results))
    return results


if __name__ == "__main__":
    run(settings_from(None, __doc__))
