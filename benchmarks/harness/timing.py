"""Contestants: each checked first, then all timed in turn, round after round."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from spatial_lstm.equality import TOLERANCE

Results = Sequence[Tensor]
Clock = Callable[[], float]

# Seconds; shorter runs are repeated within one sample.
SHORTEST_SAMPLE = 5e-3
# Seconds in which threads that linger come to rest; XLA's take less than 50 ms.
REST = 0.1


class WrongResultError(Exception):
    """A contestant did not compute what it should, and so is not timed."""


@dataclass(frozen=True)
class Contestant:
    """Something to time.

    Attributes:
        name: What tables call it.
        run: What is timed; returns its results, to be checked.
        expected: What the results should be, in float64.
        scale: What the time is multiplied by, for one that runs on a part of the work.
        notes: What else is to be kept with its times.
        compiles: Whether its first run compiles, and so is not the one whose time is kept where there is no other.
        lingers: Whether it leaves threads at work behind, which would slow down the next one.
    """

    name: str
    run: Callable[[], Results]
    expected: Callable[[], Results]
    scale: float = 1.0
    notes: dict[str, Any] = field(default_factory=dict)
    compiles: bool = False
    lingers: bool = False


@dataclass(frozen=True)
class Measurement:
    """Seconds a run, one sample per round; the error found in the check before; and the contestant's notes."""

    seconds: list[float]
    error: float
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Budget:
    """When to stop: after ``seconds`` (but not before ``least`` rounds), or after ``most`` rounds.

    A contestant whose check takes more than ``patience`` seconds is not run again.
    """

    seconds: float
    least: int = 3
    most: int = 30
    patience: float = 2.0


def check(contestant: Contestant) -> Measurement:
    """Return the largest error of a contestant's results, and the time of this first run, or the second of one that compiles.

    Raises:
        WrongResultError: If shapes differ, a result is not finite or an error exceeds :data:`TOLERANCE`.
    """
    if contestant.compiles:
        contestant.run()
    start = time.perf_counter()
    found = contestant.run()
    seconds = (time.perf_counter() - start) * contestant.scale
    expected = contestant.expected()
    if [t.shape for t in found] != [t.shape for t in expected]:
        raise WrongResultError(
            f"{contestant.name}: expected shapes {[tuple(t.shape) for t in expected]}, got {[tuple(t.shape) for t in found]}"
        )
    worst = 0.0
    for place, (a, b) in enumerate(zip(found, expected, strict=True)):
        error = float((a.detach() - b).abs().max() / max(1.0, float(b.abs().max())))
        if not error <= TOLERANCE[a.dtype]:  # so that NaN fails too
            raise WrongResultError(
                f"{contestant.name}: expected result {place} within {TOLERANCE[a.dtype]:g}, got an error of {error:.3g}"
            )
        worst = max(worst, error)
    return Measurement([seconds], worst, contestant.notes)


def measure(
    contestants: Sequence[Contestant], budget: Budget, clock: Clock = time.perf_counter
) -> dict[str, Measurement]:
    """Check all contestants, then time them in interleaved rounds, every other round in reverse order.

    ``clock`` may be :func:`time.process_time`, steadier on a busy machine, as long as there is one thread.

    Raises:
        WrongResultError: If any contestant is wrong; then none is timed.
    """
    checked = {contestant.name: check(contestant) for contestant in contestants}
    gc.collect()
    gc.freeze()  # what lives by now is not looked at again, which makes collecting between rounds cheap
    try:
        samples = _rounds(contestants, checked, budget, clock)
    finally:
        gc.unfreeze()
    return {name: replace(one, seconds=samples[name]) for name, one in checked.items()}


def _rounds(
    contestants: Sequence[Contestant], checked: dict[str, Measurement], budget: Budget, clock: Clock
) -> dict[str, list[float]]:
    """Samples of every contestant; of those that are too slow the one of the check."""
    racers = [c for c in contestants if checked[c.name].seconds[0] / c.scale <= budget.patience]
    repeats = {c.name: max(1, math.ceil(SHORTEST_SAMPLE * c.scale / _sample(c, 1, clock))) for c in racers}
    samples = {c.name: [] if c in racers else checked[c.name].seconds for c in contestants}
    start, rounds = clock(), 0
    while rounds < budget.most and (rounds < budget.least or clock() - start < budget.seconds):
        gc.collect()
        for contestant in racers if rounds % 2 == 0 else reversed(racers):
            samples[contestant.name].append(_sample(contestant, repeats[contestant.name], clock))
        rounds += 1
    return samples


def _sample(contestant: Contestant, repeats: int, clock: Clock) -> float:
    """Seconds a run, over ``repeats`` runs without the garbage collector."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        start = clock()
        for _ in range(repeats):
            contestant.run()
        return (clock() - start) / repeats * contestant.scale
    finally:
        if enabled:
            gc.enable()
        if contestant.lingers:
            time.sleep(REST)
