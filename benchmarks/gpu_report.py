"""Tables of what ``benchmarks/on_gpu.sh`` found on a GPU. Measures nothing.

The figures of an NVIDIA H200 are of two calls: ``first.jsonl`` of the kernels as they were when they first met a GPU, ``last.jsonl`` after
what that had taught. The time with the GPU was over before every part had run again.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Row, markdown_table, number

RESULTS = Path(__file__).parent / "results" / "nvidia-h200"
KINDS = ("images", "step", "gates")
CONTESTANTS = (
    "nn.LSTM",
    *(f"triton-{kind}" for kind in KINDS),
    *(f"triton-{kind} + graph" for kind in KINDS),
    "plain",
    "JAX",
)


def section(folder: Path = RESULTS) -> str:
    """Training of both calls, and microseconds a step."""
    first, last = (read(folder / f"{name}.jsonl") for name in ("first", "last"))
    compared = [row for row in last if row["part"] == "equality" and "passed" in row]
    device = next(row for row in last if "device" in row)
    gpu = device["device"]
    before, after = (next(row for row in rows if "model" in row) for rows in (first, last))
    paragraphs = [
        f"An {gpu['gpu']}, torch {device['torch']}, Triton {gpu['triton']}. All of {sum(row['passed'] for row in compared)} comparisons of "
        f"{len(compared)} with the reference pass: every kernel, cell and type, outputs and gradients.",
        "**Training in float32**, milliseconds, one direction. `nn.LSTM` is cuDNN's, with one step per wavefront, and the batch that makes "
        "the recurrent FLOPs equal. The three kinds of kernels are launched from Python, and replayed from a CUDA graph:",
        training(last, "float32"),
        "**Training in float16**, of the kernels as they were at first, whose launches from Python took three times as long as now:",
        training(first, "float16"),
        "**Microseconds a step** of 64 x 32x32, 63 steps, as many input channels as features: training launched from Python, and inference "
        "in a CUDA graph:",
        steps(last),
        f"RIDE's likelihood and its gradients, {after['batch']} windows of {after['edge']}x{after['edge']} in float32, took "
        f"{number(before['seconds'][1] * 1e3)} ms by a launch a step, as slow as launches were, and {number(after['seconds'][1] * 1e3)} ms "
        "by a library's product a step; now it takes a launch a step again, unmeasured.",
    ]
    return "\n\n".join(paragraphs)


def read(path: Path) -> list[Row]:
    """The rows of one call."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def training(rows: Sequence[Row], kind: str) -> str:
    """Milliseconds of every contestant at every size."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if "contestant" in row and (row.get("type"), row.get("mode")) == (kind, "training"):
            found.setdefault(row["size"], {})[row["contestant"]] = row["seconds"]["median"] * 1e3
    names = [name for name in CONTESTANTS if any(name in times for times in found.values())]
    lines = [
        [size, *(number(times[name]) if name in times else "" for name in names)]
        for size, times in found.items()
        if "nn.LSTM" in times
    ]
    head = [name.removeprefix("triton-").replace(" + ", ", ") for name in names]
    return markdown_table(["N x HxW, C to h", *head], lines)


def steps(rows: Sequence[Row]) -> str:
    """By features and type; where a kind does not take the size, nothing."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        if row["part"] == "steps" and "contestant" in row:
            hidden = row["size"].rpartition(" to ")[2]
            found.setdefault((row["type"], hidden), {})[row["contestant"]] = statistics.median(row["us_per_step"])
    modes = ("{}, training", "{} + graph, inference")
    names = [mode.format(f"triton-{kind}") for mode in modes for kind in KINDS] + [
        mode.format("plain") for mode in modes
    ]
    lines = [
        [kind, hidden, *(number(times[name]) if name in times else "" for name in names)]
        for (kind, hidden), times in found.items()
    ]
    head = [name.removeprefix("triton-").replace(" + ", ", ") for name in names]
    return markdown_table(["type", "h", *head], lines)
