"""The files of a run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from spatial_lstm import __version__
from spatial_lstm.files import remove_unfinished, sole_writer
from spatial_lstm.training import files
from spatial_lstm.training.checkpoint import BEST, LAST, METRICS


class RunFolder:
    """Where a run leaves ``last.pt``, ``best.pt`` and ``metrics.jsonl``.

    A process may be killed at any moment. So ``last.pt`` is written first and holds all that the others need: a run goes on from it.

    Args:
        path: Of the folder; None to write nothing.
        metrics: Bytes of the metrics file that are a resumed run's.
    """

    def __init__(self, path: Path | None, metrics: int | None = None) -> None:
        self.path = path
        self._metrics: files.Metrics | None = None
        with self.held():
            if path is not None:
                for name in (LAST, BEST):
                    remove_unfinished(path / name)
                if metrics is not None:
                    self._metrics = files.Metrics(path / METRICS, metrics)

    def held(self) -> AbstractContextManager[None]:
        """Keep others from writing to the folder.

        Raises:
            ValueError: If another run is writing to it.
        """
        return nullcontext() if self.path is None else sole_writer(self.path)

    def begin(self) -> None:
        """Lose what an older run has left, but for its checkpoint, in whose place the first one has come."""
        if self.path is not None:
            (self.path / BEST).unlink(missing_ok=True)
            self._metrics = files.Metrics(self.path / METRICS)

    @property
    def metrics(self) -> int:
        """Bytes of the metrics file."""
        return self._metrics.size if self._metrics else 0

    def note(self, **values: Any) -> None:
        """Add a line to the metrics."""
        if self._metrics:
            self._metrics.add(**values)

    def keep_best(self, model: dict[str, Any], record: dict[str, Any]) -> None:
        """Write a description of the best model with the record of how it came about: a file that needs no other."""
        if self.path is not None:
            files.save(self.path / BEST, {"model": model, **record, "version": __version__})

    def has_best(self, score: float, steps: int) -> bool:
        """Whether the best model there is the one with this score after so many steps; there is none to miss without a folder."""
        if self.path is None:
            return True
        try:
            found = files.read(self.path / BEST)
        except ValueError:
            return False
        return (found.get("score"), found.get("steps")) == (score, steps)
