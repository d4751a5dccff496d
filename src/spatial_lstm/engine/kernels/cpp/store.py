"""Compiled libraries in their folders, and failures to compile one.

A library's name is made of what it depends on (the source, the flags asked for, the CPU's features; the compilers there are and what they
say of themselves) and of its content. So another compiler makes another library, and one that is damaged, which could end the process that
loads it, is not taken for one.
"""

from __future__ import annotations

import contextlib
import ctypes
import fnmatch
import functools
import os
import platform
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from spatial_lstm.engine.kernels.cpp import cpu, folders
from spatial_lstm.engine.kernels.cpp.compiler import BuildError, Compiler
from spatial_lstm.engine.kernels.cpp.recipe import short_digest, source_digest
from spatial_lstm.engine.kernels.cpp.structures import STRUCTURES
from spatial_lstm.files import write_atomically

# Seconds for which a failure is remembered: what failed in passing is to be tried again soon, what fails for good seldom.
REMEMBERED = 600.0


def name_of(compilers: Sequence[Compiler]) -> str:
    """What a library's name begins with.

    Raises:
        BuildError: If the source is not installed.
    """
    return f"{_conditions()}-{short_digest(repr([tuple(compiler) for compiler in compilers]).encode())}"


def ready(compilers: Sequence[Compiler]) -> ctypes.CDLL | None:
    """The newest library of these compilers that loads, of any compilers where there are none now.

    Raises:
        BuildError: As :func:`name_of`.
    """
    for path in _files(f"{name_of(compilers) if compilers else f'{_conditions()}-*'}-*.so"):
        with contextlib.suppress(BuildError):
            return load(path)
    return None


def keep(folder: Path, compilers: Sequence[Compiler], library: Path) -> Path:
    """Write a library into a folder, under the name that :func:`ready` finds it by."""
    content = library.read_bytes()
    path = folder / f"{name_of(compilers)}-{short_digest(content)}.so"
    write_atomically(path, lambda file: file.write(content))
    return path


def load(path: Path) -> ctypes.CDLL:
    """Return a library if it is whole, and as :func:`open_library` wants it.

    Raises:
        BuildError: If it is not, or does not load.
    """
    check_whole(path)
    return open_library(path)


def check_whole(path: Path) -> None:
    """Refuse a library that is not what its name says: 2 milliseconds, in which a process may be saved from its end.

    Raises:
        BuildError: If it is damaged, or cannot be read.
    """
    try:
        found = short_digest(path.read_bytes())
    except OSError as error:
        raise BuildError(f"the compiled library does not load: {error}") from error
    if path.stem[-len(found) :] != found:
        raise BuildError(f"the compiled library {path} is damaged")


def open_library(path: Path) -> ctypes.CDLL:
    """Return a library if all that crosses into it is laid out as here, as far as sizes tell.

    Raises:
        BuildError: If it is not, or does not load.
    """
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise BuildError(f"the compiled library does not load: {error}") from error
    for name, structure in STRUCTURES.items():
        size = getattr(library, f"size_of_{name}", None)
        found = None if size is None else size()
        if found != structure.size:
            raise BuildError(
                f"the compiled library {path} passes other structures: {name} has {structure.size} bytes here and {found} there"
            )
    return library


def remember(folder: Path, compilers: Sequence[Compiler], failure: BuildError) -> None:
    """Keep why these compilers have failed, for a while."""
    with contextlib.suppress(OSError):
        write_atomically(folder / _failed(compilers), lambda file: file.write(str(failure).encode()))


def remembered(compilers: Sequence[Compiler]) -> BuildError | None:
    """Why these compilers have failed not long ago, in whatever process.

    Raises:
        BuildError: As :func:`name_of`.
    """
    for path in _files(_failed(compilers)):
        with contextlib.suppress(OSError):
            if abs(time.time() - path.stat().st_mtime) < REMEMBERED:
                return BuildError(path.read_text(encoding="utf-8", errors="replace"))
    return None


def _failed(compilers: Sequence[Compiler]) -> str:
    """The file that says so: the user's own, for in a folder that many share nobody's failure should be another's."""
    return f"{name_of(compilers)}-{os.getuid()}.failed"


def _files(pattern: str) -> Iterator[Path]:
    """Those of a pattern, folder by folder, the newest first."""
    for folder in folders.readable():
        names: list[str] = []
        with contextlib.suppress(OSError):
            names = fnmatch.filter(os.listdir(folder), pattern)
        yield from sorted((folder / name for name in names), key=_written, reverse=True)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _conditions() -> str:
    """What a library depends on besides the compilers."""
    return short_digest(f"{_source()} {os.environ.get('SPATIAL_LSTM_CXXFLAGS', '')}".encode(errors="surrogateescape"))


@functools.cache
def _source() -> str:
    """Source and CPU.

    Raises:
        BuildError: If the source is not installed.
    """
    try:
        digest = source_digest()
    except OSError as error:
        raise BuildError(f"the kernel's source is not installed, so it cannot be compiled: {error}") from error
    return f"{digest} {platform.system()} {platform.machine()} {cpu.described()}"
