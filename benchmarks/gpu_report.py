"""Tables of what ``benchmarks/on_gpu.sh`` found on a GPU. Measures nothing.

The figures of an NVIDIA H200 are of three calls of a few minutes each: ``first.jsonl`` of the kernels as they were when they first met a
GPU, ``second.jsonl`` after what that had taught, ``third.jsonl`` of 16-bit types and TF32, and of float32 products on tensor cores at 16
and 32 features. Each time was over before every part had run.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu_choices import EXACT, SPLIT
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
    """Training of the last two calls, what products cost, and microseconds a step."""
    first, second, third = (read(folder / f"{name}.jsonl") for name in ("first", "second", "third"))
    compared = [row for row in second if row["part"] == "equality" and "passed" in row]
    device = next(row for row in third if "device" in row)
    gpu = device["device"]
    before, after = (next(row for row in rows if "model" in row) for rows in (first, second))
    paragraphs = [
        f"An {gpu['gpu']}, torch {device['torch']}, Triton {gpu['triton']}. All of {sum(row['passed'] for row in compared)} comparisons of "
        f"{len(compared)} with the reference pass: every kernel, cell and type, outputs and gradients.",
        "**Training in float32**, milliseconds, one direction. `nn.LSTM` is cuDNN's, with one step per wavefront, and the batch that makes "
        "the recurrent FLOPs equal. The three kinds of kernels are launched from Python, and replayed from a CUDA graph; those of "
        "images and of steps took their products by multiply-adds:",
        layers(second, "float32", "training"),
        "**Products of float32** by multiply-adds, and as three of TF32 each, as they are taken now; milliseconds in a CUDA graph, and the "
        "largest error of output and gradients against float64, over the largest entry:",
        products(third),
        *(
            paragraph
            for kind in ("float16", "bfloat16", "tf32")
            for paragraph in (f"**Training in {kind.replace('tf32', 'TF32')}**:", layers(third, kind, "training"))
        ),
        "**Inference in bfloat16**:",
        layers(third, "bfloat16", "inference"),
        "**Microseconds a step** of 64 x 32x32, 63 steps, as many input channels as features: training launched from Python, and inference "
        "in a CUDA graph, all by multiply-adds in float32:",
        steps(second),
        f"RIDE's likelihood and its gradients, {after['batch']} windows of {after['edge']}x{after['edge']} in float32, took "
        f"{number(before['seconds'][1] * 1e3)} ms by a launch a step, as slow as launches were, and {number(after['seconds'][1] * 1e3)} ms "
        "by a library's product a step; now it takes a launch a step again, unmeasured.",
    ]
    return "\n\n".join(paragraphs)


def read(path: Path) -> list[Row]:
    """The rows of one call."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def layers(rows: Sequence[Row], kind: str, mode: str) -> str:
    """Milliseconds of every contestant at every size."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if "contestant" in row and (row.get("type"), row.get("mode")) == (kind, mode):
            found.setdefault(row["size"], {})[row["contestant"]] = row["seconds"]["median"] * 1e3
    names = [name for name in CONTESTANTS if any(name in times for times in found.values())]
    lines = [
        [size, *(number(times[name]) if name in times else "" for name in names)]
        for size, times in found.items()
        if "nn.LSTM" in times
    ]
    head = [name.removeprefix("triton-").replace(" + ", ", ") for name in names]
    return markdown_table(["N x HxW, C to h", *head], lines)


def products(rows: Sequence[Row]) -> str:
    """Choices that differ in nothing else, both ways."""
    found: dict[tuple[str, ...], dict[tuple[str, str], Row]] = {}
    for row in rows:
        if row["part"] == "choices" and "mode" in row:
            choice = {key: str(value) for key, value in row["choice"].items() if key != "precision"}
            found.setdefault((row["size"], *choice.values()), {})[row["choice"]["precision"], row["mode"]] = row
    ways, modes = (EXACT, SPLIT), ("training", "inference")
    lines = [
        [
            size,
            variant,
            *(number(both[way, mode]["milliseconds"]) for mode in modes for way in ways),
            *(f"{both[way, 'training']['error']:.1e}" for way in ways),
        ]
        for (size, variant, *_), both in found.items()
        if len(both) == len(ways) * len(modes)
    ]
    named = ("multiply-adds", "three of TF32")
    head = [f"{of}, {way}" for of in (*modes, "error") for way in named]
    return markdown_table(["N x HxW, C to h", "kind", *head], lines, left=2)


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
