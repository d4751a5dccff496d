"""The layer on a CUDA GPU beside what bounds it and beside cuDNN: ``python -m benchmarks.gpu [--quick]``.

Images, one direction, all forward. Every contestant is checked against float64 first. Then all are timed in turn, round after round, by
CUDA events, the L2 cache flushed before each run; medians of 50 rounds (10 with ``--quick``). Contestants:

- ``product``: one matrix product of as many FLOPs as the layer.
- ``products``: the sequence of each step's products alone, in a CUDA graph.
- ``nn.LSTM``: cuDNN, one step per wavefront, and the batch that makes the recurrent FLOPs equal.
- every kernel of ours that runs, launched one by one, and ``+ graph``: replayed from a CUDA graph.

Figures go to ``benchmarks/results/<gpu>/gpu.json``; what was predicted before any was measured is in ``benchmarks/gpu-predictions.md``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from benchmarks.fields import Field, Size, compare_with_reference, run_layer
from benchmarks.gpu_opponents import TYPES, Runner, graphed, lstm, memory_of, product, products, time_all
from benchmarks.harness import (
    Row,
    WrongResultError,
    machine_name,
    markdown_table,
    number,
    settings_from,
    spread,
    write_results,
)
from benchmarks.opponents import flops
from spatial_lstm import SpatialLSTM, backends
from spatial_lstm.engine.kernels import UnsuitedError
from spatial_lstm.equality import TOLERANCE, relative_error

SIZES = (
    Size(64, (32, 32), 32, 32),
    Size(64, (32, 32), 64, 64),
    Size(32, (32, 32), 128, 128),
    Size(8, (128, 128), 64, 64),
    Size(32, (32, 32), 256, 256),
    Size(64, (32, 32), 512, 512),
)
QUICK_SIZES = SIZES[:3]


def require_gpu() -> str:
    """The GPU's name.

    Raises:
        SystemExit: With a message and exit code 1, if there is none.
    """
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks.gpu: expected a CUDA device, found none: nothing was measured")
    return torch.cuda.get_device_name()


def describe_gpu() -> dict[str, Any]:
    """What the figures depend on."""
    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_bytes": properties.total_memory,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "triton": _triton_version(),
        "backends": backends(),
    }


def _triton_version() -> str:
    try:
        return version("triton")
    except PackageNotFoundError:
        return "not installed"


def ceilings(rounds: int, kinds: Collection[str] = TYPES.keys()) -> list[Row]:
    """FLOP/s of a product of 8192 cubed in every type, and bytes/s of a large copy, read and written."""
    rows: list[Row] = []
    for name in kinds:
        dtype, tf32 = TYPES[name]
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = (torch.randn(8192, 8192, device="cuda").to(dtype) for _ in range(2))
        out = torch.empty_like(a)
        seconds = time_all([Runner(name, partial(torch.mm, a, b, out=out))], rounds)[name]
        rows.append({"kind": "ceiling", "type": name, "flops_per_second": 2 * 8192**3 / statistics.median(seconds)})
    source = torch.empty(1 << 30, dtype=torch.int8, device="cuda")
    target = torch.empty_like(source)
    seconds = time_all([Runner("copy", partial(target.copy_, source))], rounds)["copy"]
    return [*rows, {"kind": "copy", "bytes_per_second": 2 * source.numel() / statistics.median(seconds)}]


def layer_on(backend: str, dtype: torch.dtype, field: Field) -> SpatialLSTM:
    """The layer under test on the GPU; its parameters are of type ``dtype``, but the same in every type."""
    return field.make_layer(backend).bfloat16().half().to("cuda", dtype)


def exact_results(field: Field, x: Tensor, grad: Tensor | None) -> list[Tensor]:
    """In float64 by the plain kernel, itself compared with the NumPy reference on a corner."""
    twins = [layer_on(backend, torch.float64, field) for backend in ("plain", "reference")]
    corner = (slice(2), *[slice(5)] * len(field.size.extents))
    pair = [
        run_layer(twin.to(place), x[corner].to(place), grad[corner].to(place) if grad is not None else None)
        for twin, place in zip(twins, ("cuda", "cpu"), strict=True)
    ]
    compare_with_reference([tensor.cpu() for tensor in pair[0]], pair[1])
    return run_layer(twins[0], x, grad)


def checked(name: str, run: Callable[[], list[Tensor]], exact: list[Tensor], precision: torch.dtype) -> Runner:
    """A runner whose results are as exact as ``precision`` asks for.

    Raises:
        WrongResultError: If they are not.
    """
    errors = [relative_error(a, b, precision) for a, b in zip(run(), exact, strict=True)]
    # so that NaN fails too
    if not all(error <= TOLERANCE[precision] for error in errors):
        raise WrongResultError(f"{name}: expected errors of at most {TOLERANCE[precision]:g}, got {errors}")
    return Runner(name, run, max(errors), memory_of(run))


def ours(size: Size, kind: str, training: bool) -> Iterator[Runner]:
    """Every kernel that runs, checked, without and with a graph."""
    dtype, tf32 = TYPES[kind]
    field = Field(size)
    x, drawn = (t.bfloat16().half().to("cuda", dtype) for t in (field.x, field.grad))  # numbers that every type holds
    grad = drawn if training else None
    exact = exact_results(field, x.double(), None if grad is None else grad.double())
    # TF32 keeps as many bits of a factor as float16
    precision = torch.float16 if tf32 and dtype == torch.float32 else dtype
    # the plain kernel's time is that of its launches, the same in every type, and "triton" is one of the other three
    left_out = {"composite", "reference", "triton"} | ({"plain"} if kind != "float32" else set())
    names = [name for name, state in backends().items() if state.startswith("available") and name not in left_out]
    for name in names:
        run = partial(run_layer, layer_on(name, dtype, field), x, grad)
        try:
            runner = checked(name, run, exact, precision)
        except UnsuitedError:
            continue
        yield runner
        yield Runner(f"{name} + graph", graphed(run), runner.error, runner.memory)


def measure_size(size: Size, kind: str, training: bool, rounds: int, ceiling: float) -> list[Row]:
    """One row per contestant."""
    allowed = TYPES[kind][1]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    bounds = [build(size, kind, training) for build in (product, products, lstm)]
    runners = [*bounds, *ours(size, kind, training)]
    steps = sum(size.extents) - len(size.extents) + 1
    work = flops(size) * (3 if training else 1)
    rows: list[Row] = []
    for name, seconds in time_all(runners, rounds).items():
        runner = next(found for found in runners if found.name == name)
        median = statistics.median(seconds)
        rows.append(
            {
                "kind": "layer",
                "size": size.label,
                "type": kind,
                "mode": "training" if training else "inference",
                "contestant": name,
                "seconds": spread(seconds)._asdict(),
                "us_per_step": median / steps * 1e6,
                "tflops": work / median / 1e12,
                "share_of_ceiling": work / median / ceiling,
                "peak_bytes": runner.memory,
                "error": runner.error,
            }
        )
    return rows


def table(rows: list[Row]) -> str:
    """The layer's rows, with the times relative to the plain kernel, to cuDNN and to the products."""
    lines = []
    for row in rows:
        same = {r["contestant"]: r for r in rows if all(r[key] == row[key] for key in ("size", "type", "mode"))}
        ratios = (
            number(same[base]["seconds"]["median"] / row["seconds"]["median"]) if base in same else ""
            for base in ("plain", "nn.LSTM", "products")
        )
        words = [str(row[key]) for key in ("size", "type", "mode", "contestant")]
        figures = [number(row[key]) for key in ("us_per_step", "tflops", "share_of_ceiling")]
        lines.append([*words, *figures, *ratios])
    head = ["size", "type", "mode", "contestant", "us a step", "TFLOP/s", "of the ceiling"]
    return markdown_table([*head, "x plain", "x nn.LSTM", "x products"], lines, left=4)


def main() -> None:
    """Measure, keep, print."""
    settings = settings_from(None, __doc__)
    gpu = require_gpu()
    rounds = 10 if settings.quick else 50
    bounds = ceilings(rounds)
    rate = {row["type"]: row["flops_per_second"] for row in bounds if row["kind"] == "ceiling"}
    layers: list[Row] = []
    for size in QUICK_SIZES if settings.quick else SIZES:
        for kind in TYPES:
            for training in (False, True):
                layers += measure_size(size, kind, training, rounds, rate[kind])
    folder = settings.folder.parent / machine_name({"cpu": gpu, "cores": 1}).removesuffix("-1-cores")
    write_results(
        folder / "gpu.json", "gpu", [{"kind": "device", **describe_gpu()}, *bounds, *layers], quick=settings.quick
    )
    print(table(layers))


if __name__ == "__main__":
    main()
