"""Files that are whole or not there, and folders that one process writes to."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import torch

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let ``write`` fill a binary file, then put it in the place of ``path``: a reader sees the old content or the new, never a part.

    The file has the permissions of any new file. When the function returns, content and name are on the disk.

    Raises:
        OSError: If it cannot be written; what was there still is.
    """
    with naming(path):
        _replace(path, write)
    _sync_folder(path.parent)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Around writing a file: the system's errors say which one, as those of a full disk do not by themselves."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # Where a write fails in torch.save, closing its archive fails in another way.
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError) or cause.errno is None:
            raise
        raise OSError(cause.errno, cause.strerror, str(path)) from error


def _replace(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(new, flags, 0o666), "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def read_saved(path: Path) -> Any:
    """Return what :func:`torch.save` wrote into a file, on the CPU; runs no code that the file might hold.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is damaged, or of another kind.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception:
        # torch raises what the file happens to provoke, and may advise to run what it holds: that goes no further.
        raise ValueError("it is damaged, or of another kind") from None


def remove_unfinished(path: Path) -> None:
    """Remove what :func:`write_atomically` has left of writes to ``path`` in processes that were killed; for whoever alone writes it."""
    if path.parent.is_dir():
        for other in path.parent.iterdir():
            if re.fullmatch(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}", other.name):
                other.unlink(missing_ok=True)


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Be the one who writes to a folder; one that is made for it stays if something is in it. A process that was killed holds none.

    Where folders cannot be locked, as on Windows and on some file systems of a network, nothing is checked.

    Raises:
        ValueError: If somebody else is.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        if fcntl is not None:
            handle = os.open(folder, os.O_RDONLY)
            held.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ValueError(f"expected a folder that nobody else is writing to, got {folder}") from error
            except OSError:
                pass
        try:
            yield
        finally:
            if made:
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _sync_folder(folder: Path) -> None:
    """Write out a folder's list of names, where the system can: not on Windows, nor on some file systems of a network."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
