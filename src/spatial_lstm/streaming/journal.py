"""What an interrupted run leaves behind, so that another can go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spatial_lstm.files import read_saved, write_atomically

# Seconds between two writes. A judgment: what a killed run loses, against waiting for the disk.
PERIOD = 10.0


# Of a tile: of what is read, and of what is written.
Digests = tuple[str, str]


class Position(NamedTuple):
    """How far a run has come.

    Attributes:
        layer: Layers that are done.
        direction: Directions of the layer under way that are done.
        row: Rows of tiles of the direction under way that are done.
        h, c: What these hand to the next row.
        digests: For each of the layer's rows that are done, in all directions, those of its last tile. The run may append to it.
    """

    layer: int
    direction: int
    row: int
    h: Tensor
    c: Tensor
    digests: list[Digests]


class Journal:
    """A file that holds what a run is about and its last position.

    Args:
        path: Where; None for a run that cannot be resumed.
        about: What must be the same when it is resumed, in words.
    """

    def __init__(self, path: Path | None, about: dict[str, str]) -> None:
        self._path, self._about = path, about
        self._latest: tuple[Position, Callable[[], None]] | None = None
        self._written = time.monotonic()

    def read(self) -> Position | None:
        """The last position of an earlier run; None if there is none.

        Raises:
            ValueError: If that run was about something else, or the file is no journal.
        """
        if self._path is None or not self._path.exists():
            return None
        about, position = _read(self._path)
        for name, value in self._about.items():
            if about.get(name) != value:
                raise ValueError(
                    f"expected the {name} that the interrupted run was begun with, {about.get(name)}, got {value}"
                )
        return position

    def note(self, position: Position, flush: Callable[[], None], *, now: bool = False) -> None:
        """Remember a position, and write it from time to time, or now.

        Args:
            position: Where the run stands.
            flush: Brings to the disk what the position says is there.
            now: Whether it is written in any case.
        """
        self._latest = position, flush
        if now or time.monotonic() - self._written >= PERIOD:
            self.write()

    def write(self) -> None:
        """Write the latest position, if there is one."""
        if self._path is None or self._latest is None:
            return
        position, flush = self._latest
        flush()
        kept = {"about": self._about, "position": position._asdict()}
        write_atomically(self._path, lambda file: torch.save(kept, file))
        self._written = time.monotonic()

    def remove(self) -> None:
        """Delete the file of an earlier run, if there is one.

        Raises:
            ValueError: If it is no journal.
        """
        if self._path is not None and self._path.exists():
            _read(self._path)
            self._path.unlink()


def _read(path: Path) -> tuple[dict[str, str], Position]:
    """What a journal's run is about, and its position.

    Raises:
        ValueError: If the file is no journal.
    """
    try:
        kept: dict[str, Any] = read_saved(path)
        return kept["about"], Position(**kept["position"])
    except Exception as error:
        raise ValueError(f"expected the journal of an interrupted run, got {path}: {error}") from error
