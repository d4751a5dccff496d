"""What threads share, in processes that fork."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from threading import Lock
from weakref import WeakSet


class Shared(ABC):
    """What the threads of a process change one at a time, each under its lock.

    A forked child has only the thread that forked. What another one was changing, and may have left half changed, begins anew there, under
    a lock of its own: the one that was held would never be given back. All else is kept.

    Attributes:
        lock: To be held by whoever reads or changes it.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self.begin()
        _all.add(self)

    @abstractmethod
    def begin(self) -> None:
        """Hold nothing."""


_all: WeakSet[Shared] = WeakSet()


def _begin_anew() -> None:
    for each in list(_all):
        if each.lock.locked():
            each.lock = Lock()
            each.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
