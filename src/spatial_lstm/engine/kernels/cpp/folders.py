"""Where compiled libraries are kept: the user's cache folder, or a private temporary one where that cannot be."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Bytes that a folder must have room for. g++ 12 takes 15 MiB at once for its files of a moment, and the library is kept beside them.
ROOM = 1 << 25
# What the names of folders begin with in which libraries are compiled, and the seconds after which nobody is at work in one any more.
SCRATCH, ABANDONED = "spatial_lstm-build-", 3600.0


class FolderError(Exception):
    """A folder that libraries cannot be written to, or not be loaded from."""


def readable() -> list[Path]:
    """The folders that a library may lie in, best first; the temporary one only if nobody else can have written there."""
    found = []
    with contextlib.suppress(FolderError):
        found.append(_preferred())
    with contextlib.suppress(FolderError):
        temporary = _temporary_name()
        if _private(temporary):
            found.append(temporary)
    return found


def writable(faults: list[str]) -> Iterator[Path]:
    """The folders that libraries can be written to and loaded from, best first; why another is none of them is added to ``faults``."""
    for place in (_preferred, temporary_folder):
        try:
            folder = place()
            _check(folder)
        except FolderError as error:
            faults.append(str(error))
        else:
            yield folder


def check_room(folder: Path) -> None:
    """See that there is room in a folder; for whoever alone compiles there, since what many write for a moment may be too much.

    Raises:
        FolderError: If there is not.
    """
    with writing(folder), tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(ROOM >> 20):
            file.write(bytes(1 << 20))
        file.flush()
        os.fsync(file.fileno())  # some file systems of a network say only now that there is none


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Around what is written into a folder: what the system says of it becomes a :class:`FolderError`."""
    try:
        yield
    except OSError as error:
        raise FolderError(f"{folder} cannot be written to: {error.strerror}") from error


@contextlib.contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A folder of a moment in a folder.

    Raises:
        FolderError: If it cannot be made.
    """
    with contextlib.ExitStack() as held:
        with writing(folder):
            made = tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder, ignore_cleanup_errors=True)
            new = Path(held.enter_context(made))
        _sweep(folder, new.stat().st_mtime)  # by the clock of whose disk it is
        yield new


@functools.cache
def temporary_folder() -> Path:
    """A folder that nobody else can write a library into: the user's own, or a new one where somebody took its name.

    Raises:
        FolderError: If none can be made.
    """
    folder = _temporary_name()
    with writing(folder):
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            if not _private(folder):
                return Path(tempfile.mkdtemp(prefix="spatial_lstm-"))
    return folder


def _sweep(folder: Path, now: float) -> None:
    """Remove what processes that were killed have left of :func:`scratch`."""
    for left in folder.glob(f"{SCRATCH}*"):
        with contextlib.suppress(OSError):  # removed by another process
            if now - left.lstat().st_mtime > ABANDONED:
                shutil.rmtree(left, ignore_errors=True)


def _check(folder: Path) -> None:
    """Make a folder if need be, and see that files can be written into it and programs loaded from it.

    Raises:
        FolderError: If they cannot.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        flags = os.statvfs(folder).f_flag
    if flags & getattr(os, "ST_NOEXEC", 0):
        raise FolderError(f"{folder} is on a file system without programs (noexec)")


def _preferred() -> Path:
    """Where libraries should be.

    Raises:
        FolderError: If nobody knows the user's home, or a folder that is named from where we are, which is gone.
    """
    named = os.environ.get("SPATIAL_LSTM_CACHE")
    if named:
        folder = Path(os.path.expanduser(named))
        if named.startswith("~") and not folder.is_absolute():
            raise FolderError("there is no home folder")
        with writing(folder):
            return folder.absolute()  # without a slash in its name the system would look for a library elsewhere
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # which is to be ignored, as the specification says
        base = os.path.expanduser("~/Library/Caches" if sys.platform == "darwin" else "~/.cache")
    if not os.path.isabs(base):
        raise FolderError("there is no home folder")
    return Path(base, "spatial_lstm")


def _temporary_name() -> Path:
    """Where the user's own temporary folder should be.

    Raises:
        FolderError: If the system has no place for it.
    """
    try:
        return Path(tempfile.gettempdir(), f"spatial_lstm-{os.getuid()}")
    except OSError as error:
        raise FolderError("no temporary folder can be written to") from error


def _private(folder: Path) -> bool:
    """Whether it is a folder that is the user's, and nobody else's."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
