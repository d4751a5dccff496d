"""What is to be found out in a quarter of an hour with a GPU, most important first: ``python -m benchmarks.on_gpu PART --output FILE``.

``benchmarks/on_gpu.sh`` runs all parts, each in a process and with a time limit of its own. Every result is a line of JSON, written the
moment it is there, so that a part that is cut off loses only what it had not come to.

- ``compile``: every kernel that later parts run, compiled by many processes into Triton's cache.
- ``equality``: every kernel, cell and type against the float64 reference, outputs and gradients.
- ``auto``: what ``"auto"`` picks for each size and type, and why not more.
- ``float32``, ``float16``, ``tf32``, ``bfloat16``: training and inference beside cuDNN and the bounds, as :mod:`benchmarks.gpu` measures
  them. Each type has a process of its own, since after a failure of a CUDA library nothing more runs in a process.
- ``choices``: tiles and ways of products in float32, as :mod:`benchmarks.gpu_choices` has them.
- ``steps``: microseconds a step from 16 to 512 features, the three kinds of kernels side by side.
- ``ride``: a training step of RIDE.
- ``jax``: the same wavefront by JAX, jitted, where that is installed; timed by the clock.

With ``--rehearse`` sizes are small and CPU tensors stand in for a GPU's (:mod:`benchmarks.rehearsal`).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import gpu, gpu_choices, rehearsal
from benchmarks.fields import Field, Size, run_layer
from benchmarks.gpu_opponents import TYPES, Runner, graphed, time_all
from benchmarks.harness import Row, spread
from spatial_lstm import backends
from spatial_lstm.engine.kernels import KERNELS, UnsuitedError
from spatial_lstm.engine.kernels.triton import TritonKernel
from spatial_lstm.engine.problem import make_problem
from spatial_lstm.engine.tensors import Tensors
from spatial_lstm.equality import FIELDS, VARIANTS, compare, relative_error
from spatial_lstm.image_models import RIDE

ROUNDS = 20
# The six of images and one of lines, in the order of what is asked first.
SIZES = (*gpu.SIZES, Size(16, (256,), 256, 256))
STEPS = tuple(Size(64, (32, 32), hidden, hidden) for hidden in (16, 32, 64, 128, 256, 512))
TINY = (Size(2, (3, 2), 4, 4), Size(2, (6,), 7, 5))
# Processes that compile at once.
COMPILERS = 12


def sizes(rehearsed: bool, real: tuple[Size, ...] = SIZES) -> tuple[Size, ...]:
    """Which to run."""
    return TINY if rehearsed else real


def compile_all(rehearsed: bool) -> Iterator[Row]:
    """Run each kernel once in training, for every size and type."""
    jobs = [(size, kind) for size in sizes(rehearsed, (*SIZES, *STEPS)) for kind in TYPES]
    yield from in_processes(compile_one, jobs, rehearsed)


def in_processes(find: Callable[..., list[Row]], jobs: Sequence[tuple[Any, ...]], rehearsed: bool) -> Iterator[Row]:
    """What each job finds, many at once: Triton compiles in one thread. One that fails is a row, too."""
    if rehearsed:
        for job in jobs:
            yield from find(*job)
        return
    with ProcessPoolExecutor(COMPILERS, mp_context=get_context("spawn")) as pool:
        for found in as_completed([pool.submit(find, *job) for job in jobs]):
            try:
                yield from found.result()
            except Exception as error:  # of one job; the others are wanted all the same
                yield {"error": str(error)[:500]}


def compile_one(size: Size, kind: str) -> list[Row]:
    """Seconds that all kernels take to compile and run once."""
    start, failed = time.perf_counter(), {}
    for name in kernels():
        try:
            train_once(size, kind, name)
        except UnsuitedError:
            continue
        except Exception as error:  # whatever a compiler or a driver raises
            failed[name] = str(error)[:500]
    return [{"size": size.label, "type": kind, "seconds": time.perf_counter() - start, "failed": failed}]


def train_once(size: Size, kind: str, backend: str) -> None:
    """Forward and backward."""
    dtype, torch.backends.cuda.matmul.allow_tf32 = TYPES[kind]
    field = Field(size)
    run_layer(gpu.layer_on(backend, dtype, field), field.x.to("cuda", dtype), field.grad.to("cuda", dtype))
    torch.cuda.synchronize()


def kernels() -> list[str]:
    """Those that may run here."""
    return [name for name in KERNELS if name != "cpp" and backends()[name].startswith("available")]


def equality(rehearsed: bool) -> Iterator[Row]:
    """One row per comparison."""
    device = "cpu" if rehearsed else "cuda"
    yield from in_processes(compared, [(device, variant, axes) for variant in VARIANTS for axes in FIELDS], rehearsed)


def compared(device: str, variant: str, axes: int) -> list[Row]:
    """Every direction, type and kernel of a cell."""
    return [
        {
            "cell": found.variant,
            "axes": found.axes,
            "directions": found.directions,
            "type": str(found.dtype),
            "backend": found.backend,
            "error": found.error,
            "bound": found.bound,
            "passed": found.passed,
        }
        for comparisons in compare([device], variants=[variant], axes=[axes])
        for found in comparisons
    ]


def auto(rehearsed: bool) -> Iterator[Row]:
    """Each size and type's choice, and whether it is trusted."""
    kernel = KERNELS["triton"]
    assert isinstance(kernel, TritonKernel)
    for size in sizes(rehearsed):
        for kind, (dtype, tf32) in TYPES.items():
            torch.backends.cuda.matmul.allow_tf32 = tf32
            layer = gpu.layer_on("auto", dtype, Field(size))
            x = torch.zeros((size.batch, *size.extents, size.channels), device="cuda", dtype=dtype)
            weights = (layer.get_parameter(name)[None] for name in ("weight_ih_l0", "weight_hh_l0"))
            problem = make_problem(Tensors(x, *weights), None, "f" * len(size.extents), "spatial")
            reason = kernel.unsuited(problem) or kernel.unavailable() or kernel.untrusted(problem)
            yield {"size": size.label, "type": kind, "choice": str(kernel.choice(problem)), "not_used": reason}


def layers(kind: str, rehearsed: bool) -> Iterator[Row]:
    """The ceilings of a type, then every size, training first."""
    bounds = [] if rehearsed else gpu.ceilings(ROUNDS, [kind])
    yield from bounds
    rate = bounds[0]["flops_per_second"] if bounds else 1.0
    for training, size in product((True, False), sizes(rehearsed)):
        try:
            yield from gpu.measure_size(size, kind, training, ROUNDS, rate)
        except Exception as error:  # of one size; the others are wanted all the same
            yield {"size": size.label, "type": kind, "error": str(error)[:500]}


def choices(rehearsed: bool) -> Iterator[Row]:
    """Every candidate of float32, where a table of tiles has to choose."""
    for size in sizes(rehearsed, gpu.SIZES):
        yield from gpu_choices.measure(size, ROUNDS // 2)


def steps(rehearsed: bool) -> Iterator[Row]:
    """Training without a graph and inference with one, every kernel."""
    for kind in ("float16", "float32"):
        for size in sizes(rehearsed, STEPS):
            runners = [found for training in (True, False) for found in step_runners(size, kind, training)]
            for name, seconds in time_all(runners, ROUNDS).items():
                count = sum(size.extents) - len(size.extents) + 1
                yield {
                    "size": size.label,
                    "type": kind,
                    "contestant": name,
                    "us_per_step": spread([s / count * 1e6 for s in seconds]),
                }


def step_runners(size: Size, kind: str, training: bool) -> Iterator[Runner]:
    """Every kernel that takes the size."""
    dtype, torch.backends.cuda.matmul.allow_tf32 = TYPES[kind]
    field = Field(size)
    x, grad = field.x.to("cuda", dtype), field.grad.to("cuda", dtype) if training else None
    for name in kernels():
        layer = gpu.layer_on(name, dtype, field)

        def run(layer: torch.nn.Module = layer) -> object:
            return run_layer(layer, x, grad)  # type: ignore[arg-type]

        try:
            run()
        except UnsuitedError:
            continue
        yield Runner(f"{name}, training", run) if training else Runner(f"{name} + graph, inference", graphed(run))


def ride(rehearsed: bool) -> Iterator[Row]:
    """One layer's negative log-likelihood and its gradients on windows of 64 x 64."""
    batch, edge = (2, 8) if rehearsed else (50, 64)
    model = RIDE(hidden_size=8 if rehearsed else 64).cuda()
    x = torch.rand(batch, 1, edge, edge, device="cuda")
    parameters = list(model.parameters())

    def run() -> object:
        return torch.autograd.grad(model.log_density(x).mean(), parameters)

    for name, seconds in time_all([Runner("RIDE", run)], ROUNDS).items():
        yield {"model": name, "batch": batch, "edge": edge, "seconds": spread(seconds)}


def jax(rehearsed: bool) -> Iterator[Row]:
    """A scan over diagonals, compiled by XLA, checked against the layer; its float32 has TF32 products unless it is told otherwise."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    from benchmarks.jax_wavefront import on_its_device

    for kind, dtype, precision in (("float32", torch.float32, "highest"), ("float16", torch.float16, None)):
        for size, training in product(sizes(rehearsed, gpu.SIZES)[: 1 if rehearsed else None], (True, False)):
            field = Field(size)
            run = on_its_device(field, str(dtype).removeprefix("torch."), precision, training=training)
            exact = run_layer(field.make_layer("plain").to("cuda", torch.float64), field.x.double().to("cuda"), None)[0]
            error = relative_error(torch.as_tensor(np.array(run(), np.float32)), exact, torch.float16)
            yield {
                "size": size.label,
                "type": kind,
                "mode": "training" if training else "inference",
                "contestant": "JAX",
                "seconds": spread([_clocked(run) for _ in range(ROUNDS)])._asdict(),
                "error": error,
            }


def _clocked(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


PARTS: dict[str, Callable[[bool], Iterator[Row]]] = {
    "compile": compile_all,
    "equality": equality,
    "auto": auto,
    **{kind: partial(layers, kind) for kind in TYPES},
    "choices": choices,
    "steps": steps,
    "ride": ride,
    "jax": jax,
}


def run_part(part: str, output: Path, rehearsed: bool) -> int:
    """Append a part's rows to a file; return how many there were."""
    output.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with output.open("a") as file:
        for row in PARTS[part](rehearsed):
            file.write(json.dumps({"part": part, **row}) + "\n")
            file.flush()
            count += 1
    return count


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--output", type=Path, required=True, help="the file that rows are appended to")
    parser.add_argument("--rehearse", action="store_true", help="small, on the CPU")
    args = parser.parse_args()
    if not args.rehearse:
        gpu.require_gpu()
    with rehearsal.cpu_for_gpu(args.rehearse):
        device = {"part": args.part, "device": gpu.describe_gpu(), "torch": torch.__version__}
        args.output.parent.mkdir(parents=True, exist_ok=True)
        with args.output.open("a") as file:
            file.write(json.dumps(device) + "\n")
        start = time.perf_counter()
        print(
            f"{args.part}: {run_part(args.part, args.output, args.rehearse)} rows, {time.perf_counter() - start:.0f} s"
        )


if __name__ == "__main__":
    main()
