"""The library that a wheel brought, the fastest of those that this CPU can run.

It is not linked with OpenMP: it takes the functions of the one runtime that torch has loaded, so that there are never two in a process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from pathlib import Path

from spatial_lstm.engine.kernels.cpp import cpu, recipe, store
from spatial_lstm.engine.kernels.cpp.compiler import BuildError


def ready() -> ctypes.CDLL | None:
    """Return it; None where there is none that fits, or the user asks for flags of their own."""
    if os.environ.get("SPATIAL_LSTM_CXXFLAGS") or not recipe.PREBUILT.is_dir():
        return None
    there = cpu.features()
    for build in recipe.BUILDS:
        path = recipe.PREBUILT / build.file
        if build.needs <= there and path.exists():
            with contextlib.suppress(BuildError):
                return _open(path)
    return None


def _open(path: Path) -> ctypes.CDLL:
    """Return a library of a wheel.

    Raises:
        BuildError: If it does not load, which for want of OpenMP's functions is tried a second time, or does not go with this version.
    """
    with contextlib.suppress(BuildError):
        return store.open_library(path)
    _offer_openmp()
    return store.open_library(path)


def _offer_openmp() -> None:
    """Let libraries take functions from the OpenMP runtime of this process, as torch does by itself in most of its packages."""
    with contextlib.suppress(OSError):
        maps = Path("/proc/self/maps").read_text()
        for runtime in sorted(set(re.findall(r"/\S*/lib(?:gomp|iomp5|omp)\b\S*\.so\S*", maps))):
            ctypes.CDLL(runtime, mode=ctypes.RTLD_GLOBAL)
