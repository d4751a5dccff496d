"""The compilers that there are, what they are tried on, and running one for a bounded time."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from spatial_lstm.engine.kernels.cpp.recipe import FLAGS, SOURCE

# Seconds. It takes milliseconds to say a version and half a second to compile the probe, on a machine that is neither busy nor far from
# its files.
ANSWER, PROBE = 10.0, 30.0
NATIVE = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
THREADS = "-fopenmp"  # torch's own OpenMP runtime serves, if the names agree; without OpenMP one thread runs
# What is told of a compiler's messages, in characters: so many of their beginning and of their end.
MESSAGE = 500


class BuildError(Exception):
    """There is no compiler, it did not succeed, or its library is not what is expected here.

    Its text can be kept and printed: bytes of a path that are no characters are escaped.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason.encode(errors="backslashreplace").decode())


class TooSlowError(BuildError):
    """A compiler, or another process that compiles, was not done in time."""


class Compiler(NamedTuple):
    """A compiler as it is called.

    Attributes:
        words: The program's path and the arguments that always come first.
        version: All that it says of itself; empty where it does not answer.
    """

    words: tuple[str, ...]
    version: str

    def __str__(self) -> str:
        return shlex.join(self.words)


def compilers() -> list[Compiler]:
    """The compilers there are, the preferred one first, each once however many names it has."""
    found: dict[tuple[object, ...], Compiler] = {}
    for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        words = command_of(name)
        if words is not None:
            version = _version(words)
            _, _, rest = version.partition(" ")  # all but the name that it was called by
            found.setdefault((rest or words[0], words[1:]), Compiler(words, version))
    return list(found.values())


def command_of(name: str) -> tuple[str, ...] | None:
    """What to run for a compiler's name, which may be followed by arguments; None where there is no such program."""
    whole = shutil.which(name)  # its path may have spaces
    if whole is not None:
        return (whole,)
    try:
        words = shlex.split(name)
    except ValueError:
        return None
    program = shutil.which(words[0]) if words else None
    return None if program is None else (program, *words[1:])


def optional_flags(compiler: Compiler, scratch: Path, deadline: float) -> list[str]:
    """Which of :data:`NATIVE` and :data:`THREADS` a compiler takes, found by compiling and loading a source of a few lines.

    Args:
        compiler: The compiler.
        scratch: An empty folder.
        deadline: As in :func:`run_compiler`.

    Raises:
        BuildError: If it compiles nothing that loads.
    """
    flags = [NATIVE, THREADS]
    if _fault(compiler, flags, scratch, deadline) is None:
        return flags
    broken = _fault(compiler, [], scratch, deadline)
    if broken is not None:
        raise broken
    # Twice: a compiler may be killed in passing, and what it leaves out is left out for good.
    return [flag for flag in flags if not all(_fault(compiler, [flag], scratch, deadline) for _ in range(2))]


def run_compiler(
    compiler: Compiler, flags: Sequence[str], sources: Sequence[Path], output: Path, deadline: float
) -> None:
    """Compile a library; what the compiler leaves of a moment lies beside it.

    Args:
        compiler: The compiler.
        flags: Some that :func:`optional_flags` found, beside those that every library is compiled with.
        sources: Files of C++: the first is compiled when the library is linked, the others before, by as many compilers at once.
        output: The library, not there yet.
        deadline: Until when, on :func:`time.monotonic`'s clock.

    Raises:
        BuildError: If it fails, or is not done in time.
    """
    try:
        more = shlex.split(os.environ.get("SPATIAL_LSTM_CXXFLAGS", ""))
    except ValueError as error:
        raise BuildError(f"expected flags in SPATIAL_LSTM_CXXFLAGS, got {error}") from error
    common = [*compiler.words, *FLAGS, *more, *flags]
    main, *parts = sources
    objects = [str(output.with_name(f"{part.stem}.o")) for part in parts]
    apart = [[*common, "-c", str(part), "-o", made] for part, made in zip(parts, objects, strict=True)]
    outcomes = _run(apart, deadline - time.monotonic(), output.parent)
    # One that fails beside others may have found no memory, and is tried alone.
    retried = [command for command, (status, _) in zip(apart, outcomes, strict=True) if status != 0]
    for command in (*retried, [*common, "-shared", str(main), *objects, "-o", str(output)]):
        [(status, said)] = _run([command], deadline - time.monotonic(), output.parent)
        if status != 0:
            raise BuildError(_shortened(said.strip()) or f"exit status {status}")
    if not output.exists():
        raise BuildError("exit status 0, and no library")


def _fault(compiler: Compiler, flags: Sequence[str], scratch: Path, deadline: float) -> BuildError | None:
    """Why a compiler makes no library of the probe that loads; None when it does."""
    output = scratch / f"probe{''.join(flags)}.so"
    try:
        run_compiler(compiler, flags, [SOURCE / "probe.cpp"], output, min(deadline, time.monotonic() + PROBE))
        ctypes.CDLL(str(output))
    except TooSlowError:
        raise
    except BuildError as error:
        return error
    except OSError as error:
        return BuildError(f"what it compiles does not load: {error}")
    return None


@functools.cache
def _version(words: tuple[str, ...]) -> str:
    try:
        [(status, said)] = _run([[*words, "--version"]], ANSWER)
    except BuildError:
        return ""
    return said if status == 0 else ""


def _run(commands: Sequence[Sequence[str]], seconds: float, scratch: Path | None = None) -> list[tuple[int, str]]:
    """Each command's exit status and all that it says, in English; they run at once, with a folder for files of a moment.

    Raises:
        BuildError: If one cannot be started, or all take longer than some seconds; then they are ended, with all that they started.
    """
    if seconds <= 0:
        raise TooSlowError("no time is left")
    end = time.monotonic() + seconds
    environment = {**os.environ, "LC_ALL": "C"} | ({} if scratch is None else {"TMPDIR": str(scratch)})
    with contextlib.ExitStack() as running:
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for command in commands:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                )
                processes.append(running.enter_context(process))
            said = [process.communicate(timeout=max(0.0, end - time.monotonic()))[0] for process in processes]
        except BaseException as error:
            for process in processes:
                if process.returncode is None:  # what it started may go on where it has ended
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise TooSlowError(f"not done in {seconds:.3g} seconds") from None
            if isinstance(error, OSError):
                raise BuildError(str(error)) from error
            raise
    return [(process.returncode, text.decode(errors="replace")) for process, text in zip(processes, said, strict=True)]


def _shortened(text: str) -> str:
    return text if len(text) <= 2 * MESSAGE else f"{text[:MESSAGE]}\n[..]\n{text[-MESSAGE:]}"
