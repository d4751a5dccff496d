"""The compiled library: found, brought by a wheel, or compiled once per machine, and loaded.

One that was compiled on this machine goes before one of a wheel. The source is plain C++17 without dependencies: it takes any compiler
a minute on two cores and needs neither torch's nor Python's headers. A probe of a few lines decides the flags before. Of processes that
need it at the same time one compiles; why compilers have failed is remembered for ten minutes.

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
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from spatial_lstm.engine.kernels.cpp import cpu, folders, prebuilt, store
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
from spatial_lstm.engine.kernels.cpp.recipe import KERNEL, NO_PAIRS, PARTS, TILES

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
        except Exception as error:
            found = _as_failure(error)
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
    try:
        there = compilers()
        library = _ready(there)
        if library is None:
            failure = store.remembered(there)  # first: where there is no source, a compiler would not help
            return failure if there else _no_compiler()
    except Exception as error:
        return _as_failure(error)
    _outcome = library
    return library


def loaded() -> ctypes.CDLL | None:
    """The library where this process has loaded one."""
    return None if isinstance(_outcome, BuildError) else _outcome


def has_threads(library: ctypes.CDLL) -> bool:
    """Whether it can use more than one."""
    return bool(library.has_threads())


def build(*, force: bool = False, again: bool = True) -> Built:
    """Return the library that is there, else one compiled now.

    Args:
        force: Compile even if there is one.
        again: Compile even if that has failed not long ago.

    Raises:
        BuildError: If there is no compiler, or none succeeds; no source; or no folder to keep a library in.
    """
    deadline, there = time.monotonic() + TIMEOUT, compilers()
    found = None if force else _ready(there)
    if found is not None:
        return Built(found)
    name = store.name_of(there)
    if not there:
        raise _no_compiler()
    faults: list[str] = []
    for folder in folders.writable(faults):
        try:
            with one_at_a_time(name, _lockable(folder), deadline):
                found = None if force else store.ready(there)  # compiled by another process meanwhile
                failure = None if again else store.remembered(there)
                if found is not None:
                    return Built(found)
                if failure is not None:
                    raise failure
                return _compile(there, folder, faults, deadline)
        except folders.FolderError as error:
            faults.append(str(error))
    raise BuildError(f"no folder to keep it in (set SPATIAL_LSTM_CACHE): {'; '.join(faults)}")


def _ready(there: Sequence[Compiler]) -> ctypes.CDLL | None:
    """A library that was compiled here, else one that a wheel brought, which needs no source to be known by."""
    with contextlib.suppress(BuildError):
        found = store.ready(there)
        if found is not None:
            return found
    return prebuilt.ready()


def _as_failure(error: Exception) -> BuildError:
    """Why there is no library, whatever was raised: layers run without."""
    return error if isinstance(error, BuildError) else BuildError(f"{type(error).__name__}: {error}")


def _lockable(folder: Path) -> Iterator[Path]:
    """The folder, and one of this machine, for a file system of a network may have no locks."""
    yield folder
    with contextlib.suppress(folders.FolderError):
        yield folders.temporary_folder()


def _compile(there: Sequence[Compiler], folder: Path, faults: Sequence[str], deadline: float) -> Built:
    """A library of the first compiler that succeeds, kept in a folder; where none does, the reasons are.

    Args:
        there: The compilers.
        folder: Where to keep it.
        faults: Of the folders that are preferred to it.
        deadline: As in :func:`run_compiler`.

    Raises:
        BuildError: If none does.
        FolderError: If that is the folder's fault, which is not kept.
    """
    folders.check_room(folder)
    reasons = _misnamed()
    for compiler in there:
        with folders.scratch(folder) as scratch:
            try:
                output, lost = _compile_with(compiler, scratch, deadline)
                with folders.writing(folder):
                    path = store.keep(folder, there, output)
                library = store.load(path)
            except BuildError as error:
                folders.check_room(folder)  # for want of it compilers fail, too
                reasons.append(f"{compiler}: {error}")
                continue
        notes = [f"the C++ kernel was compiled by {compiler}: {reason}" for reason in reasons] + lost
        if faults:
            place = f"{folder} (SPATIAL_LSTM_CACHE names another place)"
            notes.append(f"the C++ kernel's library is kept in {place}: {'; '.join(faults)}")
        return Built(library, tuple(notes))
    failure = BuildError("; ".join(reasons))
    store.remember(folder, there, failure)
    raise failure


def _compile_with(compiler: Compiler, scratch: Path, deadline: float) -> tuple[Path, list[str]]:
    """The library, and what it lacks."""
    output = scratch / "kernel.so"
    flags = optional_flags(compiler, scratch, deadline)
    _announce()
    there = cpu.features()
    more = {TILES: there >= cpu.TILES, NO_PAIRS: cpu.PAIRS not in there}
    flags += [flag for flag, wanted in more.items() if wanted]
    run_compiler(compiler, flags, [KERNEL, *PARTS], output, deadline)
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
    text = "compiling the C++ kernel, once (a minute or so)"
    if sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write(f"{text}\n")
    else:
        _log.warning(text)
