"""Where compiled libraries are kept: the user's cache folder, or a private temporary one where that cannot be."""

from __future__ import annotations

import functools
import os
import stat
import sys
import tempfile
from pathlib import Path

from spatial_lstm.engine.kernels.cpp.compiler import BuildError


def readable() -> list[Path]:
    """The folders that a library may lie in, best first; the temporary one only if nobody else can have written there."""
    temporary = _temporary_name()
    return [
        *filter(None, [_preferred()]),
        *([temporary] if temporary is not None and _private(temporary) else []),
    ]


def writable() -> tuple[Path, str | None]:
    """A folder that libraries can be written to and loaded from; and, if it is the temporary one, why.

    Raises:
        BuildError: If there is none.
    """
    preferred = _preferred()
    fault = "there is no home folder" if preferred is None else _fault(preferred)
    if preferred is not None and fault is None:
        return preferred, None
    try:
        temporary = temporary_folder()
        other = _fault(temporary)
    except OSError as error:
        other = str(error)
    if other is not None:
        raise BuildError(f"no folder to keep it in (set SPATIAL_LSTM_CACHE): {fault}; {other}")
    return temporary, fault


@functools.cache
def temporary_folder() -> Path:
    """A folder that nobody else can write a library into: the user's own, or a new one where somebody took its name.

    Raises:
        OSError: If none can be made.
    """
    folder = _temporary_name()
    if folder is None:
        raise FileNotFoundError("no temporary folder can be written to")
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not _private(folder):
            return Path(tempfile.mkdtemp(prefix="spatial_lstm-"))
    return folder


def _preferred() -> Path | None:
    """Where libraries should be; None where nobody knows the user's home."""
    named = os.environ.get("SPATIAL_LSTM_CACHE")
    if named:
        folder = os.path.expanduser(named)
        return None if folder.startswith("~") else Path(folder)
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # which is to be ignored, as the specification says
        base = os.path.expanduser("~/Library/Caches" if sys.platform == "darwin" else "~/.cache")
    return Path(base, "spatial_lstm") if os.path.isabs(base) else None


def _fault(folder: Path) -> str | None:
    """Why a library cannot be written into a folder, made here if need be, and loaded from it; None when it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        flags = os.statvfs(folder).f_flag
    except OSError as error:
        return f"{folder} cannot be written to: {error.strerror}"
    return f"{folder} is on a file system without programs (noexec)" if flags & getattr(os, "ST_NOEXEC", 0) else None


def _temporary_name() -> Path | None:
    try:
        return Path(tempfile.gettempdir(), f"spatial_lstm-{os.getuid()}")
    except OSError:
        return None


def _private(folder: Path) -> bool:
    """Whether it is a folder that is the user's, and nobody else's."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
