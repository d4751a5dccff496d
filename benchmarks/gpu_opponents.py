"""Timing on a CUDA GPU, and what the layer is compared with there."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.fields import Size
from spatial_lstm.engine import get_cell
from spatial_lstm.engine.geometry import Grid, make_plan

TYPES = {
    "float32": (torch.float32, False),
    "tf32": (torch.float32, True),
    "float16": (torch.float16, True),
    "bfloat16": (torch.bfloat16, True),
}

# Runs before those that are timed: Triton compiles in the first, and a graph's allocations settle in the next two.
WARM_UP = 3

Run = Callable[[], object]


@dataclass(frozen=True)
class Runner:
    """Something to time on the GPU; ``error`` is what its check found, ``memory`` the bytes that a run adds at its peak."""

    name: str
    run: Run
    error: float | None = None
    memory: int | None = None


def time_all(runners: list[Runner], rounds: int) -> dict[str, list[float]]:
    """Seconds a run, one sample per runner and round, every other round in reverse order.

    Each run begins on a GPU that has nothing else left to do: else what is launched from Python would be launched while the run before
    is still computing, and seem to cost nothing.
    """
    flush = torch.empty(256 << 20, dtype=torch.int8, device="cuda")
    events: dict[str, list[tuple[torch.cuda.Event, torch.cuda.Event]]] = {runner.name: [] for runner in runners}
    for runner in runners * WARM_UP:
        runner.run()
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            for runner in runners if turn % 2 == 0 else reversed(runners):
                torch.cuda.synchronize()
                flush.zero_()
                pair = (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
                pair[0].record()
                runner.run()
                pair[1].record()
                events[runner.name].append(pair)
            torch.cuda.synchronize()
    finally:
        gc.enable()
    return {name: [a.elapsed_time(b) / 1e3 for a, b in pairs] for name, pairs in events.items()}


def graphed(run: Run) -> Run:
    """``run`` captured in a CUDA graph, which is kept with all that it reads: a graph knows addresses alone.

    Not by ``torch.cuda.graph``, which first gives all free memory back to the driver: to ask for it again takes longer than all runs.
    """
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            run()
        torch.cuda.synchronize()
        graph.capture_begin()
        try:
            kept = run, run()
        finally:
            graph.capture_end()
    torch.cuda.current_stream().wait_stream(stream)

    def replay() -> object:
        graph.replay()
        return kept[1]

    return replay


def memory_of(run: Run) -> int:
    """Bytes that a run adds at its peak."""
    run()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def blocks(axes: int) -> int:
    """Gate blocks of the cell that is measured, a layer's default."""
    return get_cell("spatial").blocks(axes)


def product(size: Size, kind: str, training: bool) -> Runner:
    """One product of as many FLOPs as the layer's forward, or three of them."""
    n, dtype = len(size.extents), TYPES[kind][0]
    columns, rows = size.channels + n * size.hidden, blocks(n) * size.hidden
    a = torch.randn(size.sites, columns, device="cuda").to(dtype)
    b = torch.randn(columns, rows, device="cuda").to(dtype)
    out = a.new_empty(size.sites, rows)
    dx, dw = torch.empty_like(a), torch.empty_like(b)

    def run() -> None:
        torch.mm(a, b, out=out)
        if training:
            torch.mm(out, b.t(), out=dx)
            torch.mm(a.t(), out, out=dw)

    return Runner("product", run)


def products(size: Size, kind: str, training: bool) -> Runner:
    """Each step's recurrent product, in training those of the backward too, without gathers and gates."""
    n, hidden, dtype = len(size.extents), size.hidden, TYPES[kind][0]
    rows = blocks(n) * hidden
    plan = make_plan(Grid(size.batch, size.extents, ["f" * n]))
    weight = torch.randn(n * hidden, rows, device="cuda").to(dtype)
    states = torch.randn(size.sites, n * hidden, device="cuda").to(dtype)
    z, back = states.new_empty(size.sites, rows), torch.empty_like(states)
    steps = list(zip(plan.offsets, plan.offsets[1:], strict=False))

    def run() -> None:
        for first, last in steps:
            torch.mm(states[first:last], weight, out=z[first:last])
        if training:
            for first, last in reversed(steps):
                torch.mm(z[first:last], weight.t(), out=back[first:last])
            torch.mm(states.t(), z)

    return Runner("products", graphed(run))


def lstm(size: Size, kind: str, training: bool) -> Runner:
    """cuDNN's, with T steps and batch B such that ``8 T B h^2 = 2 n blocks sites h^2``."""
    n, dtype = len(size.extents), TYPES[kind][0]
    steps = sum(size.extents) - n + 1
    batch = max(1, round(n * blocks(n) * size.sites / (4 * steps)))
    module = nn.LSTM(size.channels, size.hidden).cuda().to(dtype)
    x = torch.randn(steps, batch, size.channels, device="cuda").to(dtype).requires_grad_(training)
    grad = torch.randn(steps, batch, size.hidden, device="cuda").to(dtype)

    def run() -> object:
        with torch.set_grad_enabled(training):
            output = module(x)[0]
        return torch.autograd.grad(output, [x, *module.parameters()], grad) if training else output

    return Runner("nn.LSTM", run)
