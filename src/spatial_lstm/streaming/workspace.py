"""Where fields in between lie, and the journal."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spatial_lstm.files import sole_writer
from spatial_lstm.streaming.arrays import Field

JOURNAL = "journal.pt"


class Workspace:
    """A folder of fields.

    Args:
        folder: Where; made when something is put there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.folder / JOURNAL

    def field(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike, *, new: bool) -> Field:
        """A field of this name: new, or the one that an interrupted run has left.

        Raises:
            ValueError: If it left none of this shape and type.
        """
        path = self.folder / f"{name}.npy"
        if new:
            self.folder.mkdir(parents=True, exist_ok=True)
            return Field(path.name, np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape))
        if not path.exists():
            raise ValueError(f"expected {path}, which the interrupted run wrote, got no such file")
        array = np.lib.format.open_memmap(path, mode="r+")
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(
                f"expected {path} of shape {shape} and {np.dtype(dtype)}, got {array.shape} and {array.dtype}"
            )
        return Field(path.name, array)

    def begin(self) -> None:
        """Make room for a new run: fields that an interrupted one has left beside its journal are deleted.

        Raises:
            ValueError: If there are files of their names without a journal, which a run writes first: they are someone else's.
        """
        fields = self._fields()
        if fields and not self.journal.exists():
            raise ValueError(
                f"expected a folder without files that a run would overwrite, got {fields[0]}: delete it, or give another folder"
            )
        for path in fields:
            path.unlink()

    def _fields(self) -> list[Path]:
        """The files of all fields that are there."""
        return sorted(path for kind in ("layer", "parts") for path in self.folder.glob(f"{kind}[0-9]*.npy"))

    def drop(self, name: str) -> None:
        """Delete a field."""
        (self.folder / f"{name}.npy").unlink(missing_ok=True)

    def close(self) -> None:
        """Delete what is left of the run, its journal last, and the folder if it is empty."""
        for path in self._fields():
            path.unlink()
        self.journal.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()


@contextlib.contextmanager
def open_workspace(sink: Field, folder: Path | None) -> Iterator[tuple[Workspace, bool]]:
    """The given folder, else one beside the sink's file, else a temporary one; and whether it is there for the next run, too.

    Raises:
        ValueError: If another run is writing to the folder.
    """
    beside = folder
    if beside is None and sink.file is not None:
        beside = sink.file.with_name(f"{sink.file.name}.stream")
    if beside is not None:
        with sole_writer(beside):
            yield Workspace(beside), True
        return
    with tempfile.TemporaryDirectory() as name:
        yield Workspace(Path(name)), False
