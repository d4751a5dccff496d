"""The library that a wheel brought, the fastest of those that this CPU can run.

It is not linked with OpenMP: it takes the functions of the one runtime that torch has loaded, so that there are never two in a process.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import platform
import re
from pathlib import Path

from spatial_lstm.engine.kernels.cpp import cpu, recipe, store
from spatial_lstm.engine.kernels.cpp.compiler import BuildError

_log = logging.getLogger("spatial_lstm")


def ready() -> ctypes.CDLL | None:
    """Return it; None where there is none that fits, or the user asks for flags of their own."""
    if os.environ.get("SPATIAL_LSTM_CXXFLAGS") or not recipe.PREBUILT.is_dir():
        return None
    there = cpu.features()
    for build in recipe.BUILDS:
        fits = build.machine == platform.machine() and build.needs <= there
        for path in _files(build) if fits else ():
            try:
                return _open(path)
            except BuildError as error:
                _log.warning("%s, which the wheel brought, cannot be used: %s", path.name, error)
    return None


def _files(build: recipe.Build) -> list[Path]:
    """Those of a build; none where nobody knows which source they are to be of."""
    try:
        return list(recipe.PREBUILT.glob(build.files))
    except OSError:
        return []


def _open(path: Path) -> ctypes.CDLL:
    """Return a library of a wheel.

    Raises:
        BuildError: If it is damaged, does not go with this version, or does not load, which for want of OpenMP's functions is tried again.
    """
    try:
        store.check_whole(path)
    except BuildError as error:
        raise BuildError(f"{error}; install the wheel again") from error
    with contextlib.suppress(BuildError):
        return store.open_library(path)
    _offer_openmp()
    return store.open_library(path)


def _offer_openmp() -> None:
    """Let libraries take functions from the OpenMP runtime of this process, as torch does by itself in most of its packages."""
    with contextlib.suppress(OSError):
        maps = os.fsdecode(Path("/proc/self/maps").read_bytes()).splitlines()
        mapped = {
            line.split(maxsplit=5)[-1] for line in maps
        }  # paths, which may have spaces, behind five other columns
        for runtime in sorted(path for path in mapped if re.search(r"/lib(gomp|iomp5|omp)\b[^/]*\.so[^/]*$", path)):
            ctypes.CDLL(runtime, mode=ctypes.RTLD_GLOBAL)
