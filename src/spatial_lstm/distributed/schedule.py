"""Who computes which block when: one order of work for all ranks of a chain, found by each of them on its own.

A field is split along one axis over a chain of places and cut into blocks along another. Place p computes a direction's block b when its
own block b - 1 and the neighbor's block b are done. All directions share one chain: those that travel down it start at its first place,
those that travel up it at its last, so that the ones fill the others' bubbles.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

DOWN, UP = 1, -1


class Item(NamedTuple):
    """A block's computation.

    Attributes:
        direction: Index of the direction.
        turn: Which of the direction's blocks it is, in the order in which it travels.
    """

    direction: int
    turn: int


Steps = tuple[tuple[Item | None, ...], ...]


@lru_cache(maxsize=64)
def make_schedule(places: int, heading: tuple[int, ...], blocks: int) -> Steps:
    """Return what each place computes at each step, None for nothing: ``schedule[step][place]``.

    A place takes, of what is ready, what has the longest way to go. The steps are as few as can be: the ``D * blocks`` that each place
    works, and those of :func:`idle_steps`.

    Args:
        places: Length of the chain.
        heading: :data:`DOWN` or :data:`UP` the chain, for each direction.
        blocks: Number of blocks of each direction.
    """
    done = [[0] * len(heading) for _ in range(places)]
    steps = []
    while any(count < blocks for counts in done for count in counts):
        step = tuple(_choose(place, done, heading, blocks) for place in range(places))
        for place, item in enumerate(step):
            if item is not None:
                done[place][item.direction] += 1
        steps.append(step)
    return tuple(steps)


def _choose(place: int, done: list[list[int]], heading: tuple[int, ...], blocks: int) -> Item | None:
    """Of the items that are ready at a place the one with the most places before it."""
    ready: list[tuple[int, int, int]] = []
    for direction, way in enumerate(heading):
        turn, source = done[place][direction], place - way
        if turn < blocks and (source not in range(len(done)) or done[source][direction] > turn):
            ahead = len(done) - 1 - place if way == DOWN else place
            ready.append((-ahead, turn, direction))
    if not ready:
        return None
    _, turn, direction = min(ready)
    return Item(direction, turn)


def idle_steps(places: int, heading: tuple[int, ...]) -> int:
    """The steps in which a place has nothing to do, the bubble: the first has to wait for the last, or both ends for the middle."""
    return places - 1 if len(set(heading)) == 1 else 2 * ((places - 1) // 2)


def received(step: tuple[Item | None, ...], place: int, heading: tuple[int, ...]) -> Iterator[tuple[int, Item]]:
    """What a place is sent in a step: the neighbors' items that travel its way, as (place, item)."""
    for source in (place - 1, place + 1):
        item = step[source] if source in range(len(step)) else None
        if item is not None and source + heading[item.direction] == place:
            yield source, item
