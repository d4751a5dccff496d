"""A wheel's libraries beside one compiled for this very CPU: ``python -m benchmarks.prebuilt [--quick] [--threads 1 2]``.

Takes the wheel that ``.ci/wheel`` left in ``dist/``, and of its libraries those that this CPU can run. A training step and inference, one
direction, channels last. CPU time of the whole process, every library once a round: ratios of a few percent are asked for.
"""

from __future__ import annotations

import ctypes
import gc
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch import Tensor

from benchmarks.fields import Field, Size, run_layer
from benchmarks.harness import (
    Budget,
    Contestant,
    Row,
    Settings,
    check,
    geometric_mean,
    markdown_table,
    number,
    ratio,
    settings_from,
    spread,
    watched,
    write_results,
)
from spatial_lstm.engine.kernels.cpp import cpu, library, recipe, store

DIST = Path(__file__).parents[1] / "dist"
NATIVE = "native"
SIZES = (
    Size(16, (8, 8), 26, 64),
    Size(32, (28, 28), 1, 32),
    Size(1, (32, 1024), 1, 16),
    Size(16, (32, 32), 16, 64),
    Size(2, (32, 32), 32, 128),
)
MODES = ("training", "inference")
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SHORTEST_SAMPLE = 10e-3  # seconds
BUDGET, QUICK_BUDGET = Budget(8.0, least=5, most=60), Budget(0.3, least=2, most=6)
Libraries = dict[str, ctypes.CDLL]


def libraries(dist: Path) -> Libraries:
    """One compiled here, and those of the wheel that this CPU can run, the fastest first.

    Raises:
        ValueError: If there is no one wheel for this machine, or none of this source.
    """
    wheels = sorted(dist.glob(f"*{platform.machine()}.whl"))
    if len(wheels) != 1:
        raise ValueError(
            f"expected one wheel for {platform.machine()} in {dist}, got {len(wheels)}: .ci/wheel makes it"
        )
    found = {NATIVE: library.build().library}
    with tempfile.TemporaryDirectory() as folder, ZipFile(wheels[0]) as wheel:
        wheel.extractall(folder)
        for build in recipe.BUILDS:
            if build.machine == platform.machine() and build.needs <= cpu.features():
                found.update((build.name, store.load(path)) for path in Path(folder).rglob(build.files))
    if len(found) == 1:
        raise ValueError(f"expected libraries of this source in {wheels[0].name}, got others: .ci/wheel makes it anew")
    return found


def line_up(field: Field, dtype: torch.dtype, found: Libraries, *, training: bool) -> list[Contestant]:
    """The same layer in every library."""
    layer = field.make_layer("cpp", dtype=dtype)

    def run(own: ctypes.CDLL) -> list[Tensor]:
        library._outcome = own  # what the kernel takes for the one of this process
        results = run_layer(layer, field.x, field.grad if training else None)
        results[:2] = [field.crop(tensor) for tensor in results[:2]]
        return results

    return [Contestant(name, partial(run, own), field.expected[training]) for name, own in found.items()]


def cpu_seconds(contestants: Sequence[Contestant], budget: Budget) -> dict[str, list[float]]:
    """Check all, then one sample of each a round, every other round in reverse order."""
    for contestant in contestants:
        check(contestant)
    samples: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    start, rounds = time.perf_counter(), 0
    while rounds < budget.most and (rounds < budget.least or time.perf_counter() - start < budget.seconds):
        gc.collect()
        for contestant in contestants if rounds % 2 == 0 else reversed(contestants):
            samples[contestant.name].append(_sample(contestant.run))
        rounds += 1
    return samples


def _sample(run: Callable[[], object]) -> float:
    """Seconds of the processor's time a run, over as many runs as make a sample long enough."""
    start, runs, passed = time.process_time(), 0, 0.0
    while runs == 0 or passed < SHORTEST_SAMPLE:
        run()
        runs, passed = runs + 1, time.process_time() - start
    return passed / runs


def measure_size(size: Size, threads: int, found: Libraries, budget: Budget) -> list[Row]:
    """Check and time at one size, in every type and mode."""
    rows, before, kept = [], torch.get_num_threads(), library._outcome
    torch.set_num_threads(threads)
    try:
        for name, dtype in TYPES.items():
            field = Field(size, whole=False, dtype=dtype)
            for mode in MODES:
                seconds = cpu_seconds(line_up(field, dtype, found, training=mode == "training"), budget)
                row = {"size": size.as_kept(), "dtype": name, "mode": mode, "threads": threads}
                rows.append(row | {"cpu_seconds": seconds})
    finally:
        torch.set_num_threads(before)
        library._outcome = kept
    return rows


def summary(results: dict[str, Any]) -> str:
    """Markdown: for each type and mode the geometric mean over sizes of the time over the native library's."""
    rows = results["rows"]
    names = [name for name in rows[0]["cpu_seconds"] if name != NATIVE]
    lines = []
    for dtype, mode in dict.fromkeys((row["dtype"], row["mode"]) for row in rows):
        found = [_ratios(row) for row in rows if (row["dtype"], row["mode"]) == (dtype, mode)]
        lines.append([f"{dtype}, {mode}", *(f"{geometric_mean([one[name] for one in found]):.3f}" for name in names)])
    return markdown_table(["time over the native library's", *names], lines)


def table(results: dict[str, Any]) -> str:
    """Markdown: the native library's milliseconds, and how many times as long the wheel's take."""
    names = [name for name in results["rows"][0]["cpu_seconds"] if name != NATIVE]
    lines = []
    for row in results["rows"]:
        found = _ratios(row)
        what = [row["size"]["label"], row["dtype"], row["mode"], str(row["threads"])]
        milliseconds = number(spread(row["cpu_seconds"][NATIVE]).median * 1e3)
        lines.append([*what, milliseconds, *(f"{found[name]:.3f}" for name in names)])
    head = ["N x HxW, C to h", "type", "mode", "threads", f"{NATIVE}, ms of CPU", *names]
    return markdown_table(head, lines, left=3)


def _ratios(row: Row) -> dict[str, float]:
    seconds = row["cpu_seconds"]
    return {name: ratio(samples, seconds[NATIVE]).median for name, samples in seconds.items() if name != NATIVE}


def run(settings: Settings) -> dict[str, Any]:
    """Measure, print, keep."""
    budget, sizes = (QUICK_BUDGET, SIZES[:2]) if settings.quick else (BUDGET, SIZES)
    found = libraries(DIST)
    cases = [(size, threads) for threads in settings.threads for size in sizes]
    measured = [measure_size(size, threads, found, budget) for size, threads in watched(cases, "prebuilt")]
    rows = [row for some in measured for row in some]
    results = write_results(settings.folder / "prebuilt.json", "prebuilt", rows, quick=settings.quick)
    print(table(results), summary(results), sep="\n\n")
    return results


if __name__ == "__main__":
    run(settings_from(None, __doc__))
