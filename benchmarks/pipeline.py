"""A field over processes: ``python -m benchmarks.pipeline [--quick]``.

Measures what a block costs, by the CPU time of a process, and a message, and fits the cost model of :mod:`spatial_lstm.distributed.cost`;
times a training step on (1, 1024, 1024, 8, 64) in one process and in two, of one thread each, in interleaved rounds; keeps who computed
which block when; and predicts, from the fitted costs and the real schedules, what 8 to 1,024 processes would gain.
"""

from __future__ import annotations

import json
import re
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed import P2POp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.parallel import parallelize_module
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness import (
    Row,
    Settings,
    markdown_table,
    number,
    on_threads,
    settings_from,
    write_results,
)
from benchmarks.pipeline_model import PLACES, Sample, fit_blocks, fit_messages, predict
from spatial_lstm import SpatialLSTM, State
from spatial_lstm.distributed import SpatialParallel
from spatial_lstm.distributed.cost import COSTS, Costs, Work, choose_blocks
from spatial_lstm.distributed.schedule import DOWN

CHANNELS, HIDDEN = 8, 64
PER_SITE = 2 * 5 * HIDDEN * (2 * HIDDEN + CHANNELS)
NAME = re.compile(r"(compute|wait for) the (gradient of the )?faces of block (\d+) of \d+ in direction '(\w+)'")


@dataclass(frozen=True)
class Plan:
    """How much is measured: the field's side, the blocks' extents, messages' bytes, rounds, numbers of blocks (None: the model's own)."""

    side: int
    blocks: tuple[tuple[int, int], ...]
    messages: tuple[int, ...]
    rounds: int
    cut: tuple[int | None, ...]


FULL = Plan(
    1024,
    tuple((height, width) for height in (16, 32, 64, 128, 256) for width in (64, 512)),
    (1 << 12, 1 << 15, 1 << 18, 1 << 21),
    4,
    (None, 8),
)
QUICK = Plan(64, ((4, 32), (8, 32), (16, 32)), (1 << 12, 1 << 15), 1, (None,))


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def time_blocks(plan: Plan) -> list[Row]:
    """Least CPU time, over some rounds, of blocks forward and backward; with near faces, of which gradients are asked for."""
    torch.manual_seed(0)
    layer = SpatialLSTM(CHANNELS, HIDDEN, channels_last=True)
    least: dict[tuple[int, int], tuple[float, float]] = {}
    for turn in range(plan.rounds + 1):  # the first one warms up
        for height, width in plan.blocks:
            x = torch.randn(1, height, width, CHANNELS)
            h, c = ([torch.zeros(1, 1, HIDDEN, k, requires_grad=True) for k in (width, height)] for _ in "hc")
            results: list[Tensor] = []

            def forward() -> None:
                output, far = layer(x, State(tuple(h), tuple(c)))  # noqa: B023
                results.extend([output, *far.h, *far.c])  # noqa: B023

            there = cpu_seconds(forward)
            back = cpu_seconds(lambda: torch.stack([t.sum() for t in results]).sum().backward())  # noqa: B023
            before = least.get((height, width), (there, back))
            if turn:
                least[height, width] = min(before[0], there), min(before[1], back)
    return [{"kind": "block", "extents": k, "forward": there, "backward": back} for k, (there, back) in least.items()]


def fit(rows: list[Row]) -> list[Costs]:
    """The costs of forward and backward passes."""
    messages = [row for row in rows if row["kind"] == "message"]
    latency, bandwidth = fit_messages([row["bytes"] for row in messages], [row["seconds"] for row in messages])
    found = []
    for way in ("forward", "backward"):
        samples = [
            Sample(tuple(row["extents"]), PER_SITE * row["extents"][0] * row["extents"][1], row[way])
            for row in rows
            if row["kind"] == "block"
        ]
        found.append(Costs(*fit_blocks(samples), latency, bandwidth))
    return found


def time_messages(plan: Plan, rank: int) -> list[Row]:
    """Half of the shortest round trip."""
    rows = []
    for size in plan.messages:
        face = torch.zeros(size, dtype=torch.uint8)
        trips = []
        for _ in range(10 * plan.rounds):
            start = time.perf_counter()
            for call in (distributed.isend, distributed.irecv)[:: 1 if rank == 0 else -1]:
                for work in distributed.batch_isend_irecv([P2POp(call, face, 1 - rank)]):
                    work.wait()
            trips.append(time.perf_counter() - start)
        rows.append({"kind": "message", "bytes": size, "seconds": min(trips) / 2})
    return rows


def time_steps(plan: Plan, rank: int) -> list[Row]:
    """Training steps in one process and in both, in turn: seconds on the clock and of CPU."""
    torch.manual_seed(0)
    x = torch.randn(1, CHANNELS, plan.side, plan.side)
    grad = torch.ones(1, HIDDEN, plan.side, plan.side).to(memory_format=torch.channels_last)
    part, grad_part = (t.tensor_split(2, dim=3)[rank].contiguous(memory_format=torch.channels_last) for t in (x, grad))
    mesh = init_device_mesh("cpu", (2,))
    plain = SpatialLSTM(CHANNELS, HIDDEN)
    split = {}
    for k in plan.cut:
        blocks = k or chosen_blocks(plan.side)
        split[f"{blocks}" if k else f"{blocks}, chosen"] = parallelize_module(
            SpatialLSTM(CHANNELS, HIDDEN), mesh, SpatialParallel(blocks=blocks)
        )
    rows: list[Row] = []
    for turn in range(plan.rounds + 1):
        runs: dict[str, Callable[[], None]] = {"one process": lambda: train(plain, x, grad)} if rank == 0 else {}
        runs |= {name: lambda layer=layer: train(layer, part, grad_part) for name, layer in split.items()}  # type: ignore[misc]
        for name in ("one process", *split):
            distributed.barrier()
            cpu, start = time.process_time(), time.perf_counter()
            if name in runs:
                runs[name]()
            own = time.process_time() - cpu
            distributed.barrier()
            seconds = time.perf_counter() - start
            if turn:  # the first one warms up
                rows.append({"kind": "step", "name": name, "round": turn, "rank": rank, "seconds": seconds, "cpu": own})
    return rows


def chosen_blocks(side: int) -> int:
    """What the library's own constants choose for two processes."""
    # as spatial_lstm.distributed.run has it
    part = Work(
        (side, side // 2), 0, PER_SITE * side * side / 2, side * 2 * HIDDEN * 4, side * side / 2 * 5 * HIDDEN * 4
    )
    return choose_blocks(part, 2, (DOWN,), COSTS["cpu"])


def train(layer: SpatialLSTM, x: Tensor, grad: Tensor) -> None:
    """A step, without the input's gradient."""
    layer(x)[0].backward(grad)
    layer.zero_grad()


def trace(side: int, rank: int) -> list[Row]:
    """What this rank computed and waited for, on the machine's clock, in one training step over four directions."""
    torch.manual_seed(0)
    mesh = init_device_mesh("cpu", (2,))
    layer = parallelize_module(SpatialLSTM(CHANNELS, HIDDEN, directions="all"), mesh, SpatialParallel(blocks=8))
    x = torch.randn(1, CHANNELS, side, side // 2)
    layer(x)[0].sum().backward()
    distributed.barrier()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        layer(x)[0].sum().backward()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        found.export_chrome_trace(str(path))
        events = json.loads(path.read_text())
    rows = []
    for event in events["traceEvents"]:
        name = NAME.match(str(event.get("name")))
        if name and event.get("ph") == "X" and event.get("cat") == "user_annotation":
            start = events.get("baseTimeNanoseconds", 0) / 1e9 + event["ts"] / 1e6
            what = {"kind": "trace", "rank": rank, "doing": name[1].split()[0], "backward": bool(name[2])}
            rows.append(
                what | {"block": int(name[3]), "direction": name[4], "start": start, "seconds": event["dur"] / 1e6}
            )
    return rows


def work(rank: int, port: int, plan: Plan, folder: str) -> None:
    """One of two processes; writes its rows into a file."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    rows = [*time_messages(plan, rank), *time_steps(plan, rank), *trace(plan.side // 2, rank)]
    (Path(folder) / f"{rank}.json").write_text(json.dumps(rows))
    distributed.barrier()
    distributed.destroy_process_group()


def in_two_processes(plan: Plan) -> list[Row]:
    """What both saw; messages as the first did."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(work, (port, plan, folder), nprocs=2)  # type: ignore[attr-defined,no-untyped-call]
        found = [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(2)]
    rows = [*found[0], *(row for row in found[1] if row["kind"] != "message")]
    first = min(row["start"] for row in rows if row["kind"] == "trace")
    return [row | {"start": row["start"] - first} if row["kind"] == "trace" else row for row in rows]


def gains(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Per number of blocks: how many times as fast two processes are, by the best step on the clock, and by CPU time.

    By CPU time, which a busy machine does not stretch much, a split step takes the busier rank's share and the bubble, one block's time in
    each pass, on top; messages are not in it.
    """
    steps = [row for row in rows if row["kind"] == "step"]
    alone = [row for row in steps if row["name"] == "one process" and row["rank"] == 0]
    found = {}
    for name in dict.fromkeys(row["name"] for row in steps if row["name"] != "one process"):
        own, blocks = [row for row in steps if row["name"] == name], int(name.split(",")[0])
        cpu = max(min(row["cpu"] for row in own if row["rank"] == rank) for rank in (0, 1))
        found[name] = {
            "clock": min(row["seconds"] for row in alone) / min(row["seconds"] for row in own),
            "cpu": min(row["cpu"] for row in alone) / (cpu * (1 + 1 / blocks)),
        }
    return found


def tables(results: dict[str, Any]) -> str:
    """Markdown: costs, two processes beside one, predictions."""
    rows = results["rows"]
    fitted = [
        [
            row["pass"],
            f"{row['rate'] / 1e9:.0f}",
            *(f"{row[k] * 1e6:.0f}" for k in ("wavefront", "call", "latency")),
            f"{row['bandwidth'] / 1e9:.2g}",
        ]
        for row in rows
        if row["kind"] == "costs"
    ]
    head = ["pass", "GFlop/s", "us a wavefront", "us a call", "us a message", "GB/s"]
    two = [[name, number(gain["clock"]), number(gain["cpu"])] for name, gain in gains(rows).items()]
    far = [
        [row["series"], row["directions"], f"{row['places']:,}", str(row["blocks"]), f"{row['efficiency']:.0%}"]
        for row in rows
        if row["kind"] == "prediction"
    ]
    return "\n\n".join(
        [
            markdown_table(head, fitted),
            "Two processes, times as fast as one:",
            markdown_table(["blocks", "by the clock", "by CPU time and bubble"], two),
            "Predicted:",
            markdown_table(["scaling", "", "processes", "blocks", "efficiency"], far, left=2),
        ]
    )


def run(settings: Settings) -> dict[str, Any]:
    """Measure, predict, print, keep."""
    plan = QUICK if settings.quick else FULL
    with on_threads(1):
        rows = [*time_blocks(plan), *in_two_processes(plan)]
    passes = fit(rows)
    names = ("forward", "backward")
    for name, costs in zip(names, passes, strict=True):
        rows.append({"kind": "costs", "pass": name} | {k: v for k, v in costs._asdict().items() if k != "kept"})
    rows += predict(passes, CHANNELS, HIDDEN, (8, 16) if settings.quick else PLACES)
    results = write_results(settings.folder / "pipeline.json", "pipeline", rows, quick=settings.quick)
    print(tables(results))
    return results


if __name__ == "__main__":
    run(settings_from(None, __doc__))
