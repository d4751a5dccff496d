"""One process at a time, as far as file systems let processes agree."""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from spatial_lstm.engine.kernels.cpp.compiler import TooSlowError

PAUSE = 0.1  # seconds between two looks at a lock that another process holds

_open: set[int] = set()


@contextlib.contextmanager
def one_at_a_time(name: str, folders: Iterable[Path], deadline: float) -> Iterator[None]:
    """Hold the lock of a name in the first of some folders whose file system has locks; go on without, after a warning, where none has.

    Args:
        name: Of what is made; others are made meanwhile.
        folders: Which are there; the same for all processes that are to wait for one another.
        deadline: Until when to wait, on :func:`time.monotonic`'s clock.

    Raises:
        TooSlowError: If another process held it for so long.
    """
    handle = next(
        (found for folder in folders if (found := _acquire(folder / f"{name}.lock", deadline)) is not None), None
    )
    if handle is None:
        warnings.warn(
            "the C++ kernel may be compiled by several processes at once: no file can be locked", stacklevel=3
        )
    try:
        yield
    finally:
        if handle is not None:
            _close(handle, locked=True)


def _acquire(path: Path, deadline: float) -> int | None:
    """A descriptor that holds the lock; None where there can be none."""
    import fcntl

    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        return None
    _open.add(handle)
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(PAUSE)
                continue
            _close(handle)
            raise TooSlowError(f"another process has held {path} for too long") from None
        except OSError:
            _close(handle)
            return None


def _close(handle: int, *, locked: bool = False) -> None:
    """Give the lock back, whoever may have inherited its descriptor."""
    import fcntl

    if handle in _open:  # else closed by a fork
        if locked:
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)
        _open.discard(handle)
        os.close(handle)


def _close_inherited() -> None:
    """A lock is held as long as any process has its descriptor, and one that was forked meanwhile may live for days."""
    while _open:
        os.close(_open.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)
