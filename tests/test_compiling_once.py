"""Of many processes one compiles, and none waits for ever."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spatial_lstm.engine.kernels.cpp import compiler, folders, library, lock, store
from spatial_lstm.engine.kernels.cpp.recipe import PARTS
from tests.compilers import Machine, fails


@pytest.mark.parametrize("trouble", ["sleep 60", "sleep 60 & sleep 60"], ids=["itself", "what-it-starts"])
@pytest.mark.parametrize("where", ["--version", "probe.cpp", "float64.cpp", "kernel.cpp"])
def test_a_compiler_that_hangs_is_left(
    where: str, trouble: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once: none of the flags is tried after that, and no other process waits for it again."""

    def run_compiler(*arguments: Any) -> None:
        compiler.run_compiler(*arguments[:-1], deadline=time.monotonic() + 0.3)

    if where in ("float64.cpp", "kernel.cpp"):
        monkeypatch.setattr(library, "run_compiler", run_compiler)
    else:
        monkeypatch.setattr(compiler, "PROBE", 0.3)
    if where == "--version":
        monkeypatch.setattr(compiler, "ANSWER", 0.3)
    hanging = machine.compiler(trouble=f'case "$*" in *{where}*) {trouble};; esac')
    if where == "--version":
        hanging.path.write_text(f"#!/bin/sh\nPATH={machine.path}\n{trouble}\n")
    found = library.load()
    assert "not done in" in str(found)
    calls, parts = hanging.calls, len(PARTS)
    assert len(calls) <= {"--version": 0, "probe.cpp": 1, "float64.cpp": 1 + parts, "kernel.cpp": 2 + parts}[where]
    machine.restart()
    assert str(library.load()) == str(found)
    assert hanging.calls == calls


@pytest.mark.skipif(sys.platform != "linux", reason="other systems say in other ways what runs")
def test_what_a_compiler_leaves_behind_is_ended(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would keep the pipe open, through which the compiler speaks."""
    left = machine.root / "left"
    monkeypatch.setattr(compiler, "PROBE", 2.0)
    machine.compiler(trouble=f"sleep 600 & echo $! > {left}; exit 0")
    assert "not done in" in str(library.load())
    status = Path("/proc", left.read_text().strip(), "status")
    for _ in range(500):
        if not status.exists() or "zombie" in status.read_text():
            return
        time.sleep(0.01)
    pytest.fail("it still runs")


def in_processes(count: int, work: Callable[[], object]) -> list[str]:
    """What ``work`` returns in each of some processes that start at once, as text."""
    context = multiprocessing.get_context("fork")
    results, start = context.SimpleQueue(), context.Barrier(count)

    def run() -> None:
        start.wait()
        results.put(str(work()))

    processes = [context.Process(target=run) for _ in range(count)]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return found


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("trouble", ["", fails(), fails("kernel.cpp")], ids=["works", "broken", "fails-late"])
def test_of_eight_processes_one_compiles(trouble: str, machine: Machine) -> None:
    found = machine.compiler(trouble="sleep 0.1\n" + trouble)
    results = in_processes(8, library.load)
    assert len(results) == 8
    assert len(set(results)) == 1 if trouble else all("CDLL" in text for text in results)
    assert len(found.calls) == (2 if trouble == fails() else 1 + len(PARTS) + 1)  # the probe twice, or all
    assert len(machine.libraries) == (not trouble)


@pytest.mark.parametrize("without", ["cache", "any"])
def test_file_systems_without_locks(without: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the cache has none, that of the temporary folder serves; where there are none at all, a warning says what may happen."""
    found, right, asked = machine.compiler(), fcntl.flock, []

    def flock(handle: int, operation: int) -> None:
        asked.append(handle)
        if without == "any" or len(asked) == 1:
            raise OSError(errno.ENOLCK, "no locks available")
        right(handle, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    if without == "any":
        with pytest.warns(UserWarning, match="may be compiled by several processes at once"):
            built = library.build()
    else:
        built = library.build()
        assert (folders.temporary_folder() / f"{store.name_of(compiler.compilers())}.lock").exists()
    assert Path(built.library._name).parent == machine.cache
    assert len(found.kernels) == 1
    assert not lock._open


def test_a_lock_that_another_process_keeps(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.compiler()
    machine.cache.mkdir()
    monkeypatch.setattr(library, "TIMEOUT", 0.0)
    own = store.name_of(compiler.compilers())
    with lock.one_at_a_time(own, [machine.cache], time.monotonic()):  # every file that is opened has a lock of its own
        assert "another process has held" in str(library.load())
    assert store.remembered(compiler.compilers()) is None


def test_what_another_compiler_makes_is_not_waited_for(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.compiler()
    machine.cache.mkdir()
    monkeypatch.setattr(library, "TIMEOUT", 5.0)
    with lock.one_at_a_time("another", [machine.cache], time.monotonic()):
        assert library.build().library is not None


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_keeps_no_lock(tmp_path: Path) -> None:
    """Of a process that ends in the middle, as when it is killed: its child lives on."""
    done, told = os.pipe()
    child = os.fork()
    if child == 0:
        with lock.one_at_a_time("own", [tmp_path], time.monotonic()):
            if os.fork() > 0:
                os._exit(0)
        os.read(done, 1)
        os._exit(0)
    os.waitpid(child, 0)
    with lock.one_at_a_time("own", [tmp_path], time.monotonic()):
        assert len(lock._open) == 1
    os.write(told, b"x")
    os.close(done)
    os.close(told)
