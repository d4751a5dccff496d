"""Memory of one training step, in bytes per site and hidden unit: ``python -m benchmarks.memory [--quick]``.

Each peak is the largest resident set of a fresh process during the step, less what was resident before it (libraries, parameters, input
and output gradient, all touched), as the kernel counts it (``VmHWM``, set back before the step). So it holds everything the step asks for,
whoever asks: saved tensors, work space, results, the plan's index tables and their making (``first``), or the tables alone where the
plan is there already (``later``). ``held`` is what is resident between forward and backward: what every further layer adds to the peak of
a network. The allocator is told to give freed blocks back at once. Linux only.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.fields import Size, kernels, new_layer
from benchmarks.harness import Row, Settings, markdown_table, settings_from, watched, write_results
from benchmarks.harness.command import ROOT
from spatial_lstm import SpatialLSTM

SIZES = (Size(4, (256, 256), 3, 32), Size(8, (64, 64), 32, 128))
QUICK_SIZES = (Size(4, (128, 128), 3, 32),)
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Peak:
    """Bytes above what was there before: the peak of a first step, that of a later one, and what is held before the backward."""

    first: int
    later: int
    held: int


class Mode(NamedTuple):
    """What is measured, and its name."""

    name: str
    backend: str
    recompute: bool = False
    saved_gates: str | None = None


def modes(size: Size) -> list[Mode]:
    """Every kernel, with gates as they are, in 16 bits and recomputed; and plain torch."""
    ours = [
        mode
        for name in kernels(size)
        for mode in (
            Mode(name, name),
            Mode(f"{name}, gates in bfloat16", name, saved_gates="bfloat16"),
            Mode(f"{name}, recompute", name, recompute=True),
        )
    ]
    return [*ours, Mode("composite", "composite")]


def peaks(size: Size, of: Sequence[Mode]) -> dict[str, Peak]:
    """Each mode's, by its name."""
    return {mode.name: peak(size, mode.backend, recompute=mode.recompute, saved_gates=mode.saved_gates) for mode in of}


def peak(
    size: Size,
    backend: str,
    *,
    recompute: bool = False,
    saved_gates: str | None = None,
    tile: tuple[int, ...] | None = None,
) -> Peak:
    """Measure one training step in a fresh process.

    Raises:
        RuntimeError: If the process fails, as it does when there is not enough memory or on a system other than Linux.
    """
    options = {"recompute": recompute, "saved_gates": saved_gates, "tile": tile}
    case = json.dumps({"size": asdict(size), "backend": backend, "options": options})
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    at_once = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", "--one", case],
        env=os.environ | at_once | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"expected a measurement, got exit status {done.returncode}: {done.stderr[-500:]}")
    return Peak(**json.loads(done.stdout))


def _measure_here(case: dict[str, Any]) -> Peak:
    size = Size(**case["size"] | {"extents": tuple(case["size"]["extents"])})
    layer = new_layer(size, case["backend"], **case["options"])
    width = size.hidden * len(layer.directions)
    x = torch.zeros(size.batch, *size.extents, size.channels).normal_().requires_grad_()
    grad = torch.zeros(size.batch, *size.extents, width).normal_()
    corner = (slice(1), *(slice(2) for _ in size.extents))
    _step(layer, x[corner], grad[corner])  # loads what is loaded on first use
    before = _status("VmRSS")
    found = []
    for _ in range(2):
        CLEAR.write_text("5")  # sets VmHWM back to what is resident now
        held = _step(layer, x, grad)
        found.append((_status("VmHWM") - before, held - before))
    (first, _), (later, held) = found
    return Peak(first, later, held)


def _step(layer: SpatialLSTM, x: torch.Tensor, grad: torch.Tensor) -> int:
    """Run forward and backward; return the bytes resident in between."""
    output, _ = layer(x)
    held = _status("VmRSS")
    torch.autograd.grad(output, [x, *layer.parameters()], grad)
    return held


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", STATUS.read_text())
    if found is None:
        raise RuntimeError(f"expected {name} in the process's status, got none")
    return int(found[1]) * 1024


def row(size: Size, found: dict[str, Peak]) -> Row:
    """One size's figures, as kept."""
    return {
        "size": size.as_kept() | {"sites": size.sites},
        "peaks": {name: asdict(value) for name, value in found.items()},
    }


def per_unit(kept: Row, name: str, step: str = "later") -> float:
    """Bytes per site and hidden unit."""
    units: int = kept["size"]["sites"] * kept["size"]["hidden"]
    bytes_: int = kept["peaks"][name][step]
    return bytes_ / units


def table(results: dict[str, Any]) -> str:
    """Markdown: bytes per site and hidden unit."""
    steps = {"later": "peak", "first": "peak, first step", "held": "held before the backward"}
    lines = [
        [kept["size"]["label"], name, *(f"{per_unit(kept, name, step):.0f}" for step in steps)]
        for kept in results["rows"]
        for name in kept["peaks"]
    ]
    return markdown_table(["N x HxW, C to h", "", *steps.values()], lines, left=2)


def run(settings: Settings) -> dict[str, Any]:
    """Measure, print, keep."""
    sizes = QUICK_SIZES if settings.quick else SIZES
    rows = [row(size, peaks(size, modes(size))) for size in watched(sizes, "memory")]
    results = write_results(settings.folder / "memory.json", "memory", rows, quick=settings.quick)
    print("Memory of a training step, bytes per site and hidden unit:\n")
    print(table(results))
    return results


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(asdict(_measure_here(json.loads(sys.argv[2])))))
    else:
        run(settings_from(None, __doc__))
