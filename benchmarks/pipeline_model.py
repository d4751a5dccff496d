"""What a pipeline of many processes would take: the real schedules walked with fitted costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.harness import Row
from spatial_lstm.distributed.cost import Costs, Work, block_seconds, choose_blocks, message_seconds
from spatial_lstm.distributed.schedule import DOWN, UP, Item, make_schedule

HEADINGS = {"one direction": (DOWN,), "four directions": (DOWN, DOWN, UP, UP)}
PLACES = (8, 16, 32, 64, 128, 256, 512, 1024)


class Sample(NamedTuple):
    """A block that was measured: its extents, floating-point operations, and seconds."""

    extents: tuple[int, int]
    flops: float
    seconds: float


class Span(NamedTuple):
    """When a place computed an item."""

    place: int
    item: Item
    start: float
    end: float


def fit_blocks(samples: Sequence[Sample]) -> tuple[float, float, float]:
    """Operations per second, seconds per wavefront and seconds per call that fit the samples best, relatively.

    Raises:
        ValueError: If time does not grow with work.
    """
    rows = np.array([[s.flops, sum(s.extents) - 1, 1.0] for s in samples])
    seconds = np.array([s.seconds for s in samples])
    found = np.linalg.lstsq(rows / seconds[:, None], np.ones(len(samples)), rcond=None)[0]
    if found[2] < 0:  # a call costs nothing that can be told from its wavefronts
        found = np.append(np.linalg.lstsq(rows[:, :2] / seconds[:, None], np.ones(len(samples)), rcond=None)[0], 0.0)
    if found[0] <= 0:
        raise ValueError(
            f"expected blocks that take longer the more there is to do, got {list(samples)}: take larger ones"
        )
    return 1 / float(found[0]), float(found[1]), float(found[2])


def fit_messages(sizes: Sequence[int], seconds: Sequence[float]) -> tuple[float, float]:
    """Latency, and bytes per second.

    Raises:
        ValueError: If time does not grow with size.
    """
    rows = np.array([[size, 1.0] for size in sizes])
    weights = np.array(seconds)
    slope, latency = np.linalg.lstsq(rows / weights[:, None], np.ones(len(sizes)), rcond=None)[0]
    if slope <= 0:
        raise ValueError(f"expected messages that take longer the larger they are, got {sizes} bytes in {seconds} s")
    return float(latency), 1 / float(slope)


def walk(heading: tuple[int, ...], places: int, blocks: int, block: float, message: float) -> Iterator[Span]:
    """When every item is computed in a forward pass; a backward pass is the same, mirrored."""
    free = [0.0] * places
    arrivals: dict[tuple[int, Item], float] = {}
    for step in make_schedule(places, heading, blocks):
        for place, item in enumerate(step):
            if item is not None:
                start = max(free[place], arrivals.pop((place, item), 0.0))
                free[place] = start + block
                arrivals[place + heading[item.direction], item] = free[place] + message
                yield Span(place, item, start, free[place])


def step_of(
    work: Work, places: int, heading: tuple[int, ...], passes: Sequence[Costs], weights: int
) -> tuple[float, int]:
    """Seconds of a training step, forward and backward by their own costs, and the number of blocks; the weights' gradients are summed."""
    blocks = choose_blocks(work, places, heading, passes[0])
    seconds = 0.0
    for costs in passes:
        block, message = block_seconds(work, blocks, costs), message_seconds(work, blocks, costs)
        seconds += max(span.end for span in walk(heading, places, blocks, block, message))
    costs = passes[0]
    rounds = math.ceil(math.log2(places)) if places > 1 else 0
    return seconds + 2 * (rounds * costs.latency + min(rounds, 1) * weights / costs.bandwidth), blocks


def predict(passes: Sequence[Costs], channels: int, hidden: int, places: Sequence[int] = PLACES) -> Iterator[Row]:
    """Weak scaling, 2^19 sites for each process in a square field; strong scaling, a field of 16,384 x 16,384."""
    per_site = 2 * 5 * hidden * (2 * hidden + channels)
    weights = 4 * 5 * hidden * (2 * hidden + channels + 1)

    def work(sites: float, height: int) -> Work:
        return Work((height, max(1, round(sites / height))), 0, sites * per_site, height * 2 * hidden * 4)

    for name, heading in HEADINGS.items():
        for count in places:
            side = round(math.sqrt(count * 2**19))
            for series, sites, height in (("weak", 2.0**19, side), ("strong", 2.0**28 / count, 2**14)):
                found, blocks = step_of(work(sites, height), count, heading, passes, len(heading) * weights)
                total = sites * (1 if series == "weak" else count)
                alone, _ = step_of(work(total, 724 if series == "weak" else height), 1, heading, passes, 0)
                efficiency = alone / found / (1 if series == "weak" else count)
                yield {
                    "kind": "prediction",
                    "series": series,
                    "directions": name,
                    "places": count,
                    "blocks": blocks,
                    "seconds": found,
                    "efficiency": efficiency,
                }
