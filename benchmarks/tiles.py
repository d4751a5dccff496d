"""What tiles cost and save, in training and from disk: ``python -m benchmarks.tiles [--quick]``.

*Training*: the time of a step in tiles over that of the whole (processor time, medians of interleaved rounds, as a busy machine changes
both), with the results compared first; and its memory as ``benchmarks.memory`` measures it, in bytes per site, hidden unit and direction.
*From disk*: :func:`spatial_lstm.stream` through four directions in a process of its own, whose largest resident set (libraries and all) is
read from outside while it runs. Linux only.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import memory
from benchmarks.fields import Size, new_layer
from benchmarks.harness import Row, Settings, WrongResultError, markdown_table, settings_from, watched, write_results
from benchmarks.harness.command import ROOT
from spatial_lstm import SpatialLSTM, stream
from spatial_lstm.equality import TOLERANCE, relative_error

Tile = tuple[int, int]
TRAINING: tuple[tuple[Size, tuple[Tile, ...]], ...] = (
    (Size(1, (512, 512), 3, 32), ((32, 32), (64, 64), (128, 128))),
    (Size(1, (512, 512), 3, 32, "all"), ((64, 64), (128, 128))),
)
QUICK: tuple[tuple[Size, tuple[Tile, ...]], ...] = ((Size(1, (128, 128), 3, 32), ((32, 32),)),)
EXTENTS, QUICK_EXTENTS = (1024, 2048, 4096), (256, 512)
HIDDEN, STREAM_TILE = 2, 256
ROUNDS = 5


def step_seconds(size: Size, tiles: tuple[Tile, ...]) -> dict[Tile | None, float]:
    """Median processor time of a training step for each tile, and for the whole at once (None).

    Raises:
        WrongResultError: If tiles change a result.
    """
    torch.manual_seed(0)
    layer = new_layer(size, "auto")
    x = torch.randn(size.batch, *size.extents, size.channels, requires_grad=True)
    grad = torch.randn(size.batch, *size.extents, size.hidden * len(layer.directions))

    def step(tile: Tile | None) -> list[torch.Tensor]:
        output, _ = layer(x, tile=tile)
        return [output.detach(), *torch.autograd.grad(output, [x, *layer.parameters()], grad)]

    whole = step(None)
    for tile in tiles:
        errors = [relative_error(a, b, torch.float32) for a, b in zip(step(tile), whole, strict=True)]
        if not max(errors) <= TOLERANCE[torch.float32]:
            raise WrongResultError(f"expected tiles of {tile} to change nothing, got errors up to {max(errors):.2g}")
    taken: dict[Tile | None, list[float]] = {tile: [] for tile in (None, *tiles)}
    for _ in range(ROUNDS):
        for each, seconds in taken.items():
            start = time.process_time()
            step(each)
            seconds.append(time.process_time() - start)
    return {tile: statistics.median(seconds) for tile, seconds in taken.items()}


def training_row(size: Size, tiles: tuple[Tile, ...]) -> Row:
    """Time and memory of one size."""
    seconds = step_seconds(size, tiles)
    units = size.sites * size.hidden * (4 if size.directions == "all" else 1)
    cases = []
    for tile, recompute in [(None, False), (None, True), *((tile, False) for tile in tiles)]:
        found = memory.peak(size, "auto", recompute=recompute, tile=tile)
        cases.append(
            {
                "tile": tile,
                "recompute": recompute,
                "peak": max(found.first, found.later) / units,
                "held": found.held / units,
                "time": None if recompute else seconds[tile] / seconds[None],
            }
        )
    return {"size": size.as_kept(), "seconds": seconds[None], "cases": cases}


def stream_row(extent: int) -> Row:
    """A field of ``extent`` squared through four directions, watched from outside."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.tiles", "--one", str(extent), folder]
        largest = 0
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            while child.poll() is None:
                status = Path(f"/proc/{child.pid}/status").read_text()
                found = re.search(r"VmRSS:\s+(\d+) kB", status)  # not there once it has ended
                largest = max(largest, int(found[1]) * 1024 if found else 0)
                time.sleep(0.02)
            told = child.stdout.read() if child.stdout else ""
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    if child.returncode:
        raise RuntimeError(f"expected a run from disk to end well, got exit status {child.returncode}")
    return {"extent": extent, "resident": largest, "files": size, **json.loads(told)}


def _stream_here(extent: int, folder: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    layer = SpatialLSTM(1, HIDDEN, directions="all", cell="stable")
    shape = (1, extent, extent)
    source = np.lib.format.open_memmap(folder / "source.npy", mode="w+", dtype=np.uint8, shape=shape)
    generator = np.random.default_rng(0)
    for start in range(0, extent, STREAM_TILE):
        rows = source[:, start : start + STREAM_TILE]
        rows[:] = generator.integers(0, 256, rows.shape, dtype=np.uint8)
    source.flush()
    del source, rows
    source = np.load(folder / "source.npy", mmap_mode="r")
    shape = (4 * HIDDEN, extent, extent)
    sink = np.lib.format.open_memmap(folder / "sink.npy", mode="w+", dtype=np.float16, shape=shape)
    start_of = time.process_time()
    stream(layer, source, sink, tile=(STREAM_TILE, STREAM_TILE))
    print(json.dumps({"seconds": time.process_time() - start_of, "hidden": HIDDEN, "tile": STREAM_TILE}))


def tables(results: dict[str, Any]) -> str:
    """Markdown."""
    lines = []
    for row in (row for row in results["rows"] if "cases" in row):
        for case in row["cases"]:
            tile = "whole, recompute" if case["recompute"] else "x".join(map(str, case["tile"] or ["whole"]))
            spent = "" if case["time"] is None else f"{case['time']:.2f}"
            directions = row["size"]["directions"] or "forward"
            lines.append([row["size"]["label"], directions, tile, f"{case['peak']:.1f}", f"{case['held']:.1f}", spent])
    training = markdown_table(["field", "directions", "tile", "peak", "held", "time"], lines, left=3)
    runs = [row for row in results["rows"] if "extent" in row]
    from_disk = [
        [
            f"{row['extent']}x{row['extent']}",
            f"{row['files'] / 1e6:.0f}",
            f"{row['resident'] / 1e6:.0f}",
            f"{row['seconds']:.1f}",
        ]
        for row in runs
    ]
    return (
        f"{training}\n\n{markdown_table(['from disk', 'files, MB', 'resident, MB', 'processor, s'], from_disk, left=1)}"
    )


def run(settings: Settings) -> dict[str, Any]:
    """Measure, print, keep."""
    rows = [training_row(*case) for case in watched(QUICK if settings.quick else TRAINING, "training")]
    rows += [stream_row(extent) for extent in watched(QUICK_EXTENTS if settings.quick else EXTENTS, "from disk")]
    results = write_results(settings.folder / "tiles.json", "tiles", rows, quick=settings.quick)
    print(tables(results))
    return results


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        _stream_here(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        run(settings_from(None, __doc__))
