"""Time that a run has taken."""

from __future__ import annotations

import time
from collections.abc import Callable


class Stopwatch:
    """Counts seconds within ``with``, over all of these.

    Args:
        clock: Returns seconds.
        taken: Counted before.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter, taken: float = 0.0) -> None:
        self._clock, self._taken = clock, taken
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """What has been counted."""
        return self._taken if self._since is None else self._taken + self._clock() - self._since

    def __enter__(self) -> None:
        self._since = self._clock()

    def __exit__(self, *_: object) -> None:
        self._taken, self._since = self.seconds, None
