"""An exported layer in onnxruntime beside ours: ``python -m benchmarks.onnx_speed [--quick] [--threads 1 2]``.

Every layer is exported once, with its batch and extents left open, at other sizes than it is run on.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor
from tqdm import tqdm

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
    write_results,
)
from spatial_lstm import OutputOnly

SIZES = (
    Size(1, (64, 64), 3, 32),
    Size(16, (32, 32), 16, 64),
    Size(1, (48, 512), 1, 16, "all"),
    Size(16, (128,), 32, 64),
)
BUDGET, QUICK_BUDGET = Budget(4.0), Budget(0.5, least=2, most=10)
NAME = "onnxruntime"


def session(field: Field, threads: int) -> Any:
    """The field's layer, exported and loaded."""
    size = field.size
    model = OutputOnly(field.make_layer("auto")).eval()
    example = torch.zeros(2, *range(3, 3 + len(size.extents)), size.channels)
    free = dict.fromkeys(range(example.ndim - 1), torch.export.Dim.AUTO)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer.onnx"
        torch.onnx.export(model, (example,), path, dynamo=True, dynamic_shapes=(free,), verbose=False)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def exported(field: Field, threads: int) -> Contestant:
    """The exported layer on a field."""
    runtime = session(field, threads)
    given = {runtime.get_inputs()[0].name: field.x.numpy()}

    def run() -> list[Tensor]:
        return [field.crop(torch.from_numpy(found)) for found in runtime.run(None, given)]

    return Contestant(NAME, run, field.expected[False])


def measure_size(size: Size, threads: int, budget: Budget) -> Row:
    """Check and time at one size."""
    with on_threads(threads):
        field = Field(size)
        ours = [entry(field, name, training=False) for name in kernels(size)]
        found = measure([*ours, exported(field, threads)], budget)
    return {
        "size": size.as_kept(),
        "threads": threads,
        "contestants": as_kept(found),
    }


def table(results: dict[str, Any]) -> str:
    """Markdown: milliseconds of both, and how many times each of our kernels' time onnxruntime takes."""
    names = [name for name in results["rows"][0]["contestants"] if name != NAME]
    lines = []
    for row in results["rows"]:
        seconds = {name: found["seconds"] for name, found in row["contestants"].items()}
        against = [ratio(seconds[NAME], seconds[name]) for name in names]
        lines.append(
            [
                f"{row['size']['label']}{', 4 directions' if row['size']['directions'] else ''}",
                str(row["threads"]),
                *(number(spread(seconds[name]).median * 1e3) for name in (*names, NAME)),
                *(f"{number(r.median)} ({number(r.lower)} .. {number(r.upper)})" for r in against),
            ]
        )
    head = ["N x S, C to h", "threads", *(f"{name}, ms" for name in (*names, NAME)), *(f"{NAME} / {n}" for n in names)]
    return markdown_table(head, lines)


def run(settings: Settings) -> dict[str, Any]:
    """Measure, print, keep."""
    budget, sizes = (QUICK_BUDGET, SIZES[:2]) if settings.quick else (BUDGET, SIZES)
    cases = [(size, threads) for threads in settings.threads for size in sizes]
    rows = [measure_size(size, threads, budget) for size, threads in tqdm(cases, desc="onnx_speed")]
    results = write_results(settings.folder / "onnx_speed.json", "onnx_speed", rows, quick=settings.quick)
    print("Inference of an exported layer:\n")
    print(table(results))
    return results


if __name__ == "__main__":
    run(settings_from(None, __doc__))
