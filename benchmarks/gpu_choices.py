"""The tiles of the float32 kernels, and the ways of their products, side by side on a GPU: from this the table of choices is made.

Each choice runs forward alone and forward and backward, replayed from a CUDA graph, after a check against float64.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks import gpu
from benchmarks.fields import Field, Size, run_layer
from benchmarks.gpu_opponents import Runner, graphed, time_all
from benchmarks.harness import Row
from spatial_lstm import SpatialLSTM
from spatial_lstm.engine.kernels import UnsuitedError
from spatial_lstm.engine.kernels.triton import TritonKernel
from spatial_lstm.engine.kernels.triton.choice import MOST_HIDDEN, POINTWISE, PRECISIONS, Choice, Tile, images_tile

SPLIT, EXACT = PRECISIONS["split"], PRECISIONS["exact"]
FORWARD = (Tile(16, 32, 32, 4, 3), Tile(32, 32, 16, 4, 3), Tile(64, 32, 32, 8, 3))
BACKWARD = (Tile(16, 32, 32, 4, 3), Tile(16, 32, 64, 4, 3), Tile(32, 32, 32, 4, 3), Tile(64, 32, 32, 8, 3))


def candidates(hidden: int) -> Iterator[Choice]:
    """Every tile beside the first one of the other pass, the first pair by multiply-adds, and the other two kinds."""
    forward, backward = ([tile.within(hidden) for tile in tiles] for tiles in (FORWARD, BACKWARD))
    pairs = [(tile, backward[0]) for tile in forward] + [(forward[0], tile) for tile in backward]
    for one, other in dict.fromkeys(pairs):
        yield Choice("step", SPLIT, 1, one, other)
    yield Choice("step", EXACT, 1, forward[0], backward[0])
    if hidden <= MOST_HIDDEN:
        tile = images_tile(hidden, "split")
        yield from (Choice("images", precision, 1, tile, tile) for precision in (SPLIT, EXACT))
    yield Choice("gates", SPLIT, 1, POINTWISE, POINTWISE)


def measure(size: Size, rounds: int) -> Iterator[Row]:
    """A row a choice and mode; of one that cannot run, why."""
    torch.backends.cuda.matmul.allow_tf32 = False
    field = Field(size)
    x, grad = field.x.to("cuda"), field.grad.to("cuda")
    exact = gpu.exact_results(field, x.double(), grad.double())
    runners: dict[tuple[Choice, str], Runner] = {}
    for choice in candidates(size.hidden):
        layer = field.make_layer(f"triton-{choice.variant}").to("cuda")

        def run(incoming: Tensor | None, choice: Choice = choice, layer: SpatialLSTM = layer) -> list[Tensor]:
            with patch.object(TritonKernel, "choice", lambda kernel, problem: choice):
                return run_layer(layer, x, incoming)

        try:
            error = gpu.checked(str(choice), partial(run, grad), exact, torch.float32).error
        except UnsuitedError as unsuited:
            yield {"size": size.label, "choice": choice._asdict(), "not_run": str(unsuited)}
            continue
        for mode, incoming in (("training", grad), ("inference", None)):
            runners[choice, mode] = Runner(f"{mode}, {choice!r}", graphed(partial(run, incoming)), error)
    times = time_all(list(runners.values()), rounds)
    for (choice, mode), runner in runners.items():
        milliseconds = statistics.median(times[runner.name]) * 1e3
        yield {
            "size": size.label,
            "choice": choice._asdict(),
            "mode": mode,
            "milliseconds": milliseconds,
            "error": runner.error,
        }
