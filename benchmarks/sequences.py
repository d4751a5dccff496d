"""One axis: our layer beside an ``nn.LSTM`` of the same weights: ``python -m benchmarks.sequences [--quick] [--threads 1 2]``."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.fields import Size, kernels, run_layer
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
    table_by_mode,
    watched,
    write_results,
)
from benchmarks.opponents import layer_of, lstm_expected, lstm_on

SIZES = (Size(16, (256,), 64, 64), Size(64, (128,), 32, 128), Size(1, (2048,), 16, 32), Size(128, (64,), 64, 256))
BUDGET, QUICK_BUDGET = Budget(2.0), Budget(0.5, most=10)


def entry(size: Size, backend: str, *, training: bool) -> Contestant:
    """One backend with the weights of an ``nn.LSTM``, batch first."""
    torch.manual_seed(0)
    module = nn.LSTM(size.channels, size.hidden)
    layer = layer_of(module)
    layer.backend = backend
    x = torch.randn(size.batch, *size.extents, size.channels)
    grad = torch.randn(size.batch, *size.extents, size.hidden) if training else None

    @cache
    def expected() -> list[Tensor]:
        results = lstm_expected(module, x.transpose(0, 1), None if grad is None else grad.transpose(0, 1))
        results[:2] = [tensor.transpose(0, 1) for tensor in results[:2]]
        return results[:-1] if training else results

    def run() -> list[Tensor]:
        return run_layer(layer, x, grad)

    return Contestant(backend, run, expected)


def measure_size(size: Size, mode: str, threads: int, budget: Budget) -> Row:
    """Check and time at one size."""
    training = mode == "training"
    with on_threads(threads):
        theirs = lstm_on(size.extents[0], size.batch, size.channels, size.hidden, training=training)
        ours = [entry(size, name, training=training) for name in [*kernels(size), "composite"]]
        found = measure([theirs, *ours], budget)
    return {
        "size": size.as_kept(),
        "mode": mode,
        "threads": threads,
        "contestants": as_kept(found),
    }


def table(results: dict[str, Any]) -> str:
    """Markdown: times the time of ``nn.LSTM``; below one we are faster."""
    names = [name for name in results["rows"][0]["contestants"] if name != "nn.LSTM"]
    lines = []
    for row in results["rows"]:
        seconds = {name: found["seconds"] for name, found in row["contestants"].items()}
        against = [ratio(seconds[name], seconds["nn.LSTM"]) for name in names]
        lines.append(
            [
                row["size"]["label"],
                row["mode"],
                str(row["threads"]),
                number(spread(seconds["nn.LSTM"]).median * 1e3),
                *(f"{number(r.median)} ({number(r.lower)} .. {number(r.upper)})" for r in against),
            ]
        )
    return markdown_table(["N x L, C to h", "", "threads", "nn.LSTM, ms", *names], lines, left=2)


def summary(results: dict[str, Any]) -> str:
    """Markdown: our best kernel, one column for each mode and number of threads."""
    rows = results["rows"]
    best = next(name for name in rows[0]["contestants"] if name != "nn.LSTM")

    def cell(row: Row) -> str:
        return number(ratio(*(row["contestants"][name]["seconds"] for name in (best, "nn.LSTM"))).median)

    return table_by_mode("N x L, C to h", rows, cell)


def run(settings: Settings) -> dict[str, Any]:
    """Measure, print, keep."""
    budget, sizes = (QUICK_BUDGET, SIZES[:1]) if settings.quick else (BUDGET, SIZES)
    cases = [(s, mode, t) for t in settings.threads for mode in ("training", "inference") for s in sizes]
    rows = [measure_size(size, mode, threads, budget) for size, mode, threads in watched(cases, "sequences")]
    results = write_results(settings.folder / "sequences.json", "sequences", rows, quick=settings.quick)
    print("In one dimension, time over that of nn.LSTM with the same weights:\n")
    print(table(results))
    return results


if __name__ == "__main__":
    run(settings_from(None, __doc__))
