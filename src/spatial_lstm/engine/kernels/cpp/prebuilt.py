"""The library that a wheel brought, the fastest of those that this CPU can run.

It is not linked with OpenMP: it takes the functions of the one runtime that torch has loaded, so that there are never two in a process.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import struct
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
        path = recipe.PREBUILT / build.file
        if build.needs <= there and path.exists():
            try:
                return _open(path)
            except (BuildError, OSError) as error:
                _log.warning("%s, which the wheel brought, cannot be used: %s", path.name, error)
    return None


def _open(path: Path) -> ctypes.CDLL:
    """Return a library of a wheel.

    Raises:
        OSError: If it cannot be read.
        BuildError: If it is cut off, does not go with this version, or does not load, which for want of OpenMP's functions is tried again.
    """
    if _is_cut_off(path):
        raise BuildError("it is cut off; install the wheel again")
    with contextlib.suppress(BuildError):
        return store.open_library(path)
    _offer_openmp()
    return store.open_library(path)


def _is_cut_off(path: Path) -> bool:
    """Whether a library ends before its table of sections, the last thing in it: to load one would end the process."""
    with path.open("rb") as file:
        head = file.read(64)  # of a 64-bit ELF file
    if len(head) < 64:
        return True
    (start,) = struct.unpack_from("<Q", head, 40)
    size, count = struct.unpack_from("<HH", head, 58)
    return bool(path.stat().st_size < start + size * count)


def _offer_openmp() -> None:
    """Let libraries take functions from the OpenMP runtime of this process, as torch does by itself in most of its packages."""
    with contextlib.suppress(OSError):
        maps = os.fsdecode(Path("/proc/self/maps").read_bytes()).splitlines()
        mapped = {
            line.split(maxsplit=5)[-1] for line in maps
        }  # paths, which may have spaces, behind five other columns
        for runtime in sorted(path for path in mapped if re.search(r"/lib(gomp|iomp5|omp)\b[^/]*\.so[^/]*$", path)):
            ctypes.CDLL(runtime, mode=ctypes.RTLD_GLOBAL)
