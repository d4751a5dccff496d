"""Children that are forked while another thread of the parent is at what they need."""

from __future__ import annotations

import gc
import os
import signal
import weakref
from collections.abc import Callable
from threading import Event, Thread

import numpy as np
import pytest

from spatial_lstm.engine.geometry import Grid, make_plan
from spatial_lstm.engine.geometry.plan import derived
from spatial_lstm.handwriting.data.cache import Cache

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


class Gate:
    """Where a thread stands until it may go on; as a key, whenever it is looked up."""

    def __init__(self) -> None:
        self.reached, self.open = Event(), Event()

    def __hash__(self) -> int:
        self.reached.set()
        self.open.wait()
        return 0


class SlowGrid(Grid):
    gate: Gate

    @property
    def key(self) -> tuple[object, ...]:
        return (self.gate,)


class Derives:
    @derived
    def value(self) -> int:
        return hash(self.gate) if hasattr(self, "gate") else 1

    gate: Gate


CACHE = Cache(1)


def read_line(key: object) -> None:
    CACHE.get(key, lambda: np.zeros((2, 3), np.uint8))


def plan(gate: Gate | None) -> None:
    grid = (SlowGrid if gate else Grid)(1, [2, 3], ["ff"])
    if isinstance(grid, SlowGrid) and gate:
        grid.gate = gate
    make_plan(grid)


def derive(gate: Gate | None) -> None:
    owner = Derives()
    if gate:
        owner.gate = gate
    assert owner.value == (0 if gate else 1)


def in_child(work: Callable[[], object]) -> int:
    """The exit status of a forked child that does this; it has 20 seconds."""
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("work", [read_line, plan, derive])
def test_a_child_waits_for_no_thread_of_its_parent(work: Callable[[Gate | None], None]) -> None:
    gate = Gate()
    thread = Thread(target=work, args=(gate,))
    thread.start()
    try:
        assert gate.reached.wait(20)
        assert in_child(lambda: work(None)) == 0
    finally:
        gate.open.set()
        thread.join()
    work(None)


def test_a_child_keeps_what_nobody_was_changing() -> None:
    cache = Cache(1)
    kept = cache.get("line", lambda: np.ones((2, 3), np.uint8))

    def work() -> None:
        assert cache.get("line", lambda: np.zeros((2, 3), np.uint8)) is kept

    assert in_child(work) == 0


def test_a_cache_is_kept_by_its_owners_alone() -> None:
    cache = Cache(1)
    seen = weakref.ref(cache)
    del cache
    gc.collect()
    assert seen() is None
