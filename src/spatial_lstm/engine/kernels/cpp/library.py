"""Compiling and loading the source, once per machine.

The source is plain C++17 without dependencies: it takes any compiler half a minute and needs neither torch's nor Python's headers. The
library is kept in ``$SPATIAL_LSTM_CACHE``, else in the user's cache folder, under a name made of the source, the command and the CPU's
features. Compiled into a temporary file and then renamed, it is never seen half-written, whoever else compiles at the same time.

Environment:
    SPATIAL_LSTM_CPP: ``0`` switches the kernel off.
    SPATIAL_LSTM_CACHE: Where to keep compiled libraries.
    SPATIAL_LSTM_CXXFLAGS: More flags for the compiler, for example of sanitizers.
    CXX: The compiler; default ``c++``, ``g++`` or ``clang++``, whichever is found first.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from spatial_lstm.engine.kernels.cpp.structures import STRUCTURES

SOURCE = Path(__file__).parent / "source"
TIMEOUT = 600.0  # seconds
_log = logging.getLogger("spatial_lstm")


class BuildError(Exception):
    """There is no compiler, it did not succeed, or its library is not what is expected here."""


@functools.cache
def load() -> ctypes.CDLL | BuildError:
    """Return the library, compiled now if need be, or why there is none; warns once where compiling fails."""
    if os.environ.get("SPATIAL_LSTM_CPP") == "0":
        return BuildError("switched off by SPATIAL_LSTM_CPP=0")
    try:
        return _checked(ctypes.CDLL(str(build())))
    except (BuildError, OSError) as error:
        reason = error if isinstance(error, BuildError) else BuildError(f"the compiled library does not load: {error}")
        if compilers():
            warnings.warn(f"the C++ kernel cannot be used, the plain one runs instead: {reason}", stacklevel=2)
        return reason


def _checked(library: ctypes.CDLL) -> ctypes.CDLL:
    """Return the library if all that crosses into it is laid out as here, as far as sizes tell."""
    for name, structure in STRUCTURES.items():
        size = getattr(library, f"size_of_{name}", None)
        found = None if size is None else size()
        if found != ctypes.sizeof(structure):
            raise BuildError(
                f"the compiled library {library._name} passes other structures: {structure.__name__} has "
                f"{ctypes.sizeof(structure)} bytes here and {found} there"
            )
    return library


def build(*, force: bool = False) -> Path:
    """Return the library's path, after compiling it unless it is there already.

    Raises:
        BuildError: If it cannot be compiled.
    """
    commands = [[compiler, *flags] for compiler in compilers()[:1] for flags in _flag_sets()]
    for command in commands:
        path = _path(command)
        if path.exists() and not force:
            return path
    if not commands:
        ready = sorted(_folder().glob(f"{_key()}-*.so"))
        if ready:
            return ready[0]
        raise BuildError("no C++ compiler found (set CXX, or install g++ or clang++)")
    with _one_at_a_time():
        return _compile(commands, force)


def compilers() -> list[str]:
    """The compilers there are, the preferred one first."""
    named = os.environ.get("CXX")
    candidates = [named] if named else ["c++", "g++", "clang++"]
    return [found for name in candidates if (found := shutil.which(name))]


def _flag_sets() -> Iterator[list[str]]:
    """From the fastest flags to those that every compiler knows."""
    common = [
        "-std=c++17",
        "-O2",
        "-fno-math-errno",
        "-fPIC",
        "-shared",
        *shlex.split(os.environ.get("SPATIAL_LSTM_CXXFLAGS", "")),
    ]
    native = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
    threads = "-fopenmp"  # torch's own OpenMP runtime serves, if the names agree; without OpenMP one thread runs
    yield [*common, native, threads]
    yield [*common, native]
    yield common


def _compile(commands: list[list[str]], force: bool) -> Path:
    errors: list[str] = []
    for command in commands:
        path = _path(command)
        if path.exists() and not force:
            return path
        if not errors:
            _log.warning("compiling the C++ kernel, once (under a minute)")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        os.close(handle)
        try:
            found = subprocess.run(
                [*command, str(SOURCE / "kernel.cpp"), "-o", name],
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
            if found.returncode == 0:
                os.chmod(name, 0o755)
                os.replace(name, path)
                return path
            errors.append(found.stderr.strip() or f"exit status {found.returncode}")
        except (OSError, subprocess.TimeoutExpired) as error:
            errors.append(str(error))
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
    raise BuildError(f"{commands[-1][0]} failed: {errors[-1][-2000:]}")


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Hold a lock between processes where the system has one; compiling twice would only cost time."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@functools.cache
def _folder() -> Path:
    """Where libraries are kept: the first of the candidates that can be written to."""
    named = os.environ.get("SPATIAL_LSTM_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    folder = Path(base) if base else Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    try:
        (folder / "spatial_lstm").mkdir(parents=True, exist_ok=True)
        if os.access(folder / "spatial_lstm", os.W_OK):
            return folder / "spatial_lstm"
    except OSError:
        pass
    return _temporary_folder()


def _temporary_folder() -> Path:
    """A folder that nobody else can write a library into: the user's own, or a new one where somebody took its name."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    folder = Path(tempfile.gettempdir()) / f"spatial_lstm-{user}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o077:
        return folder
    return Path(tempfile.mkdtemp(prefix="spatial_lstm-"))


def _path(command: list[str]) -> Path:
    return _folder() / f"{_key()}-{hashlib.sha256(' '.join(command[1:]).encode()).hexdigest()[:8]}.so"


@functools.cache
def _key() -> str:
    """What a library depends on, besides the command: the source and the CPU."""
    digest = hashlib.sha256()
    for file in sorted(SOURCE.iterdir()):
        digest.update(file.name.encode() + file.read_bytes())
    digest.update(f"{platform.system()} {platform.machine()} {_cpu_features()}".encode())
    return digest.hexdigest()[:16]


def _cpu_features() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
