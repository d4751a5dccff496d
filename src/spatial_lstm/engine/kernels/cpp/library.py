"""The compiled library: found, brought by a wheel, or compiled once per machine, and loaded.

One that was compiled on this machine goes before one of a wheel. The source is plain C++17 without dependencies: it takes any compiler
half a minute and needs neither torch's nor Python's headers. A probe of a few lines decides the flags before. Of processes that need it at
the same time one compiles; a failure is remembered for ten minutes.

Environment:
    SPATIAL_LSTM_CPP: ``0`` switches the kernel off.
    SPATIAL_LSTM_CACHE: Where to keep compiled libraries; default ``spatial_lstm`` in the user's cache folder.
    SPATIAL_LSTM_CXXFLAGS: More flags for the compiler, for example of sanitizers.
    CXX: The compiler, arguments may follow; where it is not there or fails, ``c++``, ``g++`` and ``clang++`` are tried in turn.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from spatial_lstm.engine.kernels.cpp import folders, prebuilt, store
from spatial_lstm.engine.kernels.cpp.compiler import (
    NATIVE,
    THREADS,
    BuildError,
    Compiler,
    command_of,
    compilers,
    optional_flags,
    run_compiler,
)
from spatial_lstm.engine.kernels.cpp.lock import one_at_a_time
from spatial_lstm.engine.kernels.cpp.recipe import KERNEL

TIMEOUT = 600.0  # seconds for all there is to do: waiting for another process, one compiler after another
LOST = {NATIVE: "it is slower than it could be", THREADS: "it runs on one thread"}
_log = logging.getLogger("spatial_lstm")
_outcome: ctypes.CDLL | BuildError | None = None  # of load(), in this process


class Built(NamedTuple):
    """A library, and what is worth knowing of how it came about."""

    library: ctypes.CDLL
    notes: tuple[str, ...] = ()


def load() -> ctypes.CDLL | BuildError:
    """Return the library, compiled now if need be, or why there is none; what there is to know is said in warnings, once."""
    global _outcome
    if _outcome is not None:
        return _outcome
    found = find()
    notes: tuple[str, ...] = ()
    if found is None:
        try:
            found, notes = build(again=False)
        except BuildError as error:
            found = error
    _outcome = found
    if isinstance(found, BuildError) and not _unwanted():
        notes = (
            "the C++ kernel cannot be used, the plain one runs instead and takes 2 to 15 times as long "
            f"(`python -m spatial_lstm build` tries again): {found}",
        )
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return found


def find() -> ctypes.CDLL | BuildError | None:
    """What :func:`load` returns, as far as it is known without compiling anything; None where it would compile."""
    global _outcome
    if _outcome is not None:
        return _outcome
    if reason := _unwanted():
        return BuildError(reason)
    there = compilers()
    library = store.ready(there) or prebuilt.ready()
    if library is not None:
        _outcome = library
        return library
    return store.remembered(there) if there else _no_compiler()


def has_threads(library: ctypes.CDLL) -> bool:
    """Whether it can use more than one."""
    return bool(library.has_threads())


def build(*, force: bool = False, again: bool = True) -> Built:
    """Return the library that is there, else one compiled now.

    Args:
        force: Compile even if there is one.
        again: Compile even if that has failed not long ago.

    Raises:
        BuildError: If there is no compiler, or none succeeds.
    """
    deadline, there = time.monotonic() + TIMEOUT, compilers()
    found = None if force else store.ready(there) or prebuilt.ready()
    if found is not None:
        return Built(found)
    if not there:
        raise _no_compiler()
    folder, fault = folders.writable()
    try:
        with one_at_a_time(store.name_of(there), _lockable(folder), deadline):
            found = None if force else store.ready(there)  # compiled by another process meanwhile
            failure = None if again else store.remembered(there)
            if found is not None:
                return Built(found)
            if failure is not None:
                raise failure
            built = _compile(there, folder, deadline)
    except TimeoutError as error:
        raise BuildError(str(error)) from error
    moved = f"the C++ kernel's library is kept in {folder} (SPATIAL_LSTM_CACHE names another place): {fault}"
    return built._replace(notes=(*built.notes, moved)) if fault else built


def _lockable(folder: Path) -> Iterator[Path]:
    """The folder, and one of this machine, for a file system of a network may have no locks."""
    yield folder
    with contextlib.suppress(OSError):
        yield folders.temporary_folder()


def _compile(there: Sequence[Compiler], folder: Path, deadline: float) -> Built:
    """A library of the first compiler that succeeds, kept in a folder; where none does, the reasons are."""
    reasons = _misnamed()
    for compiler in there:
        try:
            with tempfile.TemporaryDirectory(prefix="build-", dir=folder, ignore_cleanup_errors=True) as scratch:
                output, lost = _compile_with(compiler, Path(scratch), deadline)
                library = store.load(store.keep(folder, there, output))
        except (BuildError, OSError) as error:
            reasons.append(f"{compiler}: {error}")
            continue
        notes = [f"the C++ kernel was compiled by {compiler}: {reason}" for reason in reasons]
        return Built(library, (*notes, *lost))
    failure = BuildError("; ".join(reasons))
    store.remember(folder, there, failure)
    raise failure


def _compile_with(compiler: Compiler, scratch: Path, deadline: float) -> tuple[Path, list[str]]:
    """The library, and what it lacks."""
    output = scratch / "kernel.so"
    flags = optional_flags(compiler, scratch, deadline)
    _announce()
    run_compiler(compiler, flags, KERNEL, output, deadline)
    return output, [
        f"the C++ kernel was compiled without {flag}, which {compiler} does not take: {what} "
        "(`python -m spatial_lstm build --force` tries again)"
        for flag, what in LOST.items()
        if flag not in flags
    ]


def _no_compiler() -> BuildError:
    return BuildError(
        "; ".join(["no C++ compiler was found: install g++ or clang++, or name one by CXX", *_misnamed()])
    )


def _misnamed() -> list[str]:
    """What is wrong with the compiler that the user names, if anything."""
    named = os.environ.get("CXX")
    return [f"CXX names {named!r}, which is no program"] if named and command_of(named) is None else []


def _unwanted() -> str | None:
    """Why no library is looked for."""
    if sys.platform == "win32":
        return "not provided on Windows"
    return "switched off by SPATIAL_LSTM_CPP=0" if os.environ.get("SPATIAL_LSTM_CPP") == "0" else None


@functools.cache
def _announce() -> None:
    """Say what takes so long where a person looks, else in the log."""
    text = "compiling the C++ kernel, once (under a minute)"
    if sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write(f"{text}\n")
    else:
        _log.warning(text)
