"""How fast steps are, and with how many threads they are fastest."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from spatial_lstm.training import files
from spatial_lstm.training.loss import Loss
from spatial_lstm.training.stage import Stage
from spatial_lstm.training.task import Task

# Each number of threads is timed so often, and its best time counts: others may have kept the machine busy.
ROUNDS = 2


def step_seconds(
    task: Task[Any, Any],
    stage: Stage,
    *,
    steps: int = 20,
    autocast: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return how long a step of a stage takes, the mean of several; weights and random numbers are left as they were.

    Args:
        task: What is trained.
        stage: Its optimizer and its batches.
        steps: How many are timed, after one that is not.
        autocast: Compute in bfloat16 where that is safe.
        clock: Returns seconds.
    """
    weights, random = task.describe(), files.random_state()
    loss, optimizer = Loss(task, autocast), stage.make_optimizer(task.model.parameters())
    batches = task.batches(stage, (0,))
    start = clock()
    for step in range(1 + steps):
        if step == 1:
            start = clock()
        for parameters in optimizer.param_groups:
            parameters["lr"] = stage.final_rate
        _step(loss, optimizer, batches[step].to(task.device))
    seconds = clock() - start
    optimizer.zero_grad()
    task.load(weights)
    files.set_random_state(random)
    return seconds / steps


def set_threads(
    wanted: int | None, work: Callable[[], object], *, clock: Callable[[], float] = time.perf_counter
) -> int:
    """Let torch go on with so many threads, or with one or all of them, whichever do a piece of work faster.

    Where others keep a core busy, one thread may be several times as fast as all: most of torch's operations wait for their slowest thread
    by spinning.

    Args:
        wanted: How many; None to try one and as many as there are.
        work: What is timed, repeatedly.
        clock: Returns seconds.

    Returns:
        The number of threads.
    """
    candidates = sorted({1, torch.get_num_threads()}) if wanted is None else [wanted]
    if len(candidates) > 1:
        work()
        times = {threads: min(_time(threads, work, clock) for _ in range(ROUNDS)) for threads in candidates}
        candidates.sort(key=lambda threads: times[threads])
    torch.set_num_threads(candidates[0])
    return candidates[0]


def _step(loss: nn.Module, optimizer: torch.optim.Optimizer, batch: object) -> None:
    optimizer.zero_grad()
    loss(batch).backward()
    optimizer.step()


def _time(threads: int, work: Callable[[], object], clock: Callable[[], float]) -> float:
    torch.set_num_threads(threads)
    start = clock()
    work()
    return clock() - start
