"""Compiling the C++ kernel: by which compiler, with which flags, how often, and what is said where there is none."""

from __future__ import annotations

import ctypes
import io
import logging
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import spatial_lstm
from spatial_lstm import SpatialLSTM
from spatial_lstm.cli import main
from spatial_lstm.engine.kernels.cpp import compiler, library, recipe, store
from spatial_lstm.engine.kernels.cpp.compiler import NATIVE, SOURCE, THREADS, BuildError
from spatial_lstm.engine.kernels.cpp.structures import STRUCTURES, TYPES
from tests.compilers import Machine, dies, fails


def use() -> str:
    """Run a layer twice, and return what is told of the C++ kernel."""
    for _ in range(2):
        output, _ = SpatialLSTM(1, 2)(torch.zeros(1, 1, 2, 2))
        assert output.shape == (1, 2, 2, 2)
    return spatial_lstm.backends()["cpp"]


def test_compiled_once_and_found_again(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    found = machine.compiler()
    assert spatial_lstm.backends()["cpp"] == "available, compiled on first use"
    assert found.calls == []
    assert use() == "available"
    machine.restart()
    assert main(["build"]) == 0
    (path,) = machine.libraries
    assert capsys.readouterr().out.startswith(f"{path} (")
    assert len(found.calls) == 1 + len(recipe.PARTS) + 1  # the probe, the kernel's parts, the kernel
    assert all(NATIVE in call and THREADS in call for call in [*found.parts, *found.kernels])
    machine.restart()
    assert main(["build", "--force"]) == 0
    assert len(found.kernels) == 2
    found.path.unlink()
    machine.restart()
    assert isinstance(library.load(), ctypes.CDLL)
    assert machine.libraries == [path]


def test_parts_are_compiled_at_once(machine: Machine) -> None:
    """Each is done once all have begun."""
    begun = machine.root / "begun"
    begun.mkdir()
    count = len(recipe.PARTS)
    waits = f"touch {begun}/$$; until [ $(ls {begun} | wc -l) = {count} ]; do sleep 0.01; done"
    found = machine.compiler(trouble=f'case "$*" in *" -c "*) {waits};; esac')
    library.build()
    assert len(list(begun.iterdir())) == len(found.parts) == count


def test_a_part_that_fails_beside_others_is_tried_alone(machine: Machine) -> None:
    """Each may want more memory than a share of the machine's."""
    once = (
        f'case "$*" in *float64.cpp*) [ -e {machine.root}/tried ] || {{ touch {machine.root}/tried; exit 1; }};; esac'
    )
    found = machine.compiler(trouble=once)
    assert not library.build().notes
    assert ["float64.cpp" in call for call in found.parts].count(True) == 2
    assert "float64.cpp" in found.parts[-1]


def test_nothing_is_compiled_for_what_the_kernel_does_not_take(machine: Machine) -> None:
    found = machine.compiler()
    output, _ = SpatialLSTM(2, 3, dtype=torch.float16)(torch.zeros(1, 2, 2, 2, dtype=torch.float16))
    assert output.dtype == torch.float16
    SpatialLSTM(2, 3, spatial_dims=5)(torch.zeros(1, 2, 2, 2, 2, 2, 2))
    with pytest.raises(ValueError, match="not in torch.float16"):
        SpatialLSTM(2, 3, dtype=torch.float16, backend="cpp")(torch.zeros(1, 2, 2, 2, dtype=torch.float16))
    assert found.calls == []
    assert spatial_lstm.backends()["cpp"] == "available, compiled on first use"


def test_another_compiler_makes_another_library(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, by what it says of itself, and by its arguments; each library is found again."""
    first, other = machine.compiler("g++"), machine.compiler("clang++")
    steps: list[Callable[[], object]] = [
        lambda: None,
        lambda: monkeypatch.setenv("CXX", "clang++"),
        lambda: machine.compiler("clang++", version="clang++ 2.0"),
        lambda: monkeypatch.setenv("CXX", "clang++ -m32"),
    ]
    for count, step in enumerate(steps, start=1):
        step()
        for _ in range(2):
            machine.restart()
            library.build()
            assert len(first.kernels) + len(other.kernels) == count
    assert len(first.kernels) == 1
    assert len(machine.libraries) == 4
    monkeypatch.delenv("CXX")
    machine.compiler("clang++")
    machine.restart()
    library.build()
    assert len(first.kernels) == 1


@pytest.mark.parametrize("named", ["c++ -pipe", "cache c++ -pipe", "'{bin}/c++' -pipe"])
def test_a_compiler_with_arguments(named: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine.compiler()
    cache = machine.root / "bin" / "cache"
    cache.write_text('#!/bin/sh\nexec "$@"\n')
    cache.chmod(0o755)
    monkeypatch.setenv("CXX", named.format(bin=machine.root / "bin"))
    assert isinstance(library.load(), ctypes.CDLL)
    assert all(call.startswith("-pipe ") for call in found.calls)
    assert len(found.kernels) == 1


def test_a_compiler_whose_path_has_spaces(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine.compiler("a b")
    monkeypatch.setenv("CXX", str(found.path))
    library.build()
    assert len(found.kernels) == 1


@pytest.mark.parametrize("named", ["no-such-compiler", "g++ 'open"])
def test_a_compiler_that_is_not_there(named: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is told of, whether another serves or none."""
    monkeypatch.setenv("CXX", named)
    assert "CXX names" in spatial_lstm.backends()["cpp"]
    machine.compiler("clang++")
    with pytest.warns(UserWarning, match=r"compiled by \S+/clang\+\+: CXX names .*, which is no program"):
        assert isinstance(library.load(), ctypes.CDLL)


@pytest.mark.parametrize("trouble", [fails(), fails("float64.cpp"), fails("kernel.cpp"), dies(1) + "\n" + fails()])
def test_the_next_compiler_is_tried(trouble: str, machine: Machine) -> None:
    machine.compiler("c++", trouble)
    found = machine.compiler("g++")
    with pytest.warns(UserWarning, match=r"the C\+\+ kernel was compiled by \S+/g\+\+: \S+/c\+\+: .*too much"):
        assert isinstance(library.load(), ctypes.CDLL)
    assert len(found.kernels) == 1


def test_a_compiler_of_two_names_is_tried_once(machine: Machine) -> None:
    """Each says its own name before the rest, as g++ and c++ do."""
    for name in ("c++", "g++"):
        machine.compiler(name, fails(), version="the same")
    assert len(compiler.compilers()) == 1


@pytest.mark.parametrize(
    ("trouble", "flags"),
    [
        ("", {NATIVE, THREADS}),
        (fails(NATIVE), {THREADS}),
        (fails(THREADS), {NATIVE}),
        (fails(NATIVE) + "\n" + fails(THREADS), set()),
        (dies(1), {NATIVE, THREADS}),
        (fails(f"{NATIVE} {THREADS} -shared {SOURCE}/probe") + "\n" + dies(3), {NATIVE, THREADS}),
    ],
    ids=["all", "no-native", "no-openmp", "neither", "killed-once", "killed-later"],
)
def test_each_flag_is_tried_by_itself(trouble: str, flags: set[str], machine: Machine) -> None:
    """One that fails in passing is not left out for good."""
    found = machine.compiler(trouble=trouble)
    built = library.build()
    (call,) = found.kernels
    assert {flag for flag in (NATIVE, THREADS) if flag in call} == flags
    assert len(built.notes) == 2 - len(flags)
    assert ("it runs on one thread" in " ".join(built.notes)) == (THREADS not in flags)


def test_a_library_without_threads_says_so(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.compiler()
    monkeypatch.setattr(library, "has_threads", lambda found: False)
    assert use() == "available, on one thread: compiled without OpenMP"


@pytest.mark.usefixtures("cpp_kernel")
def test_the_probe_compiles(tmp_path: Path) -> None:
    """With this machine's own compiler, without a warning."""
    found = compiler.compilers()
    if not found:
        pytest.skip("no compiler")
    flags = compiler.optional_flags(found[0], tmp_path, time.monotonic() + 600)
    strict = ["-Wall", "-Wextra", "-Werror", *flags]
    compiler.run_compiler(found[0], strict, [SOURCE / "probe.cpp"], tmp_path / "strict.so", time.monotonic() + 600)
    kernel = library.load()
    assert isinstance(kernel, ctypes.CDLL)
    assert library.has_threads(kernel) == (THREADS in flags)


@pytest.mark.usefixtures("cpp_kernel")
@pytest.mark.skipif(sys.platform != "linux", reason="linkers of other systems list symbols in other ways")
def test_libraries_share_nothing() -> None:
    """What one shows, another that is compiled for another CPU may take for its own."""
    kernel = library.load()
    assert isinstance(kernel, ctypes.CDLL)
    if shutil.which("nm") is None:
        pytest.skip("no nm")
    command = ["nm", "--dynamic", "--defined-only", "--demangle", "--format=posix", kernel._name]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    own = {line.split()[0] for line in lines if "std::" not in line}
    calls = {f"{call}_{name}" for call in ("forward", "backward", "to_rows") for name in TYPES.values()}
    assert own - {"_init", "_fini"} == {"has_threads", *calls, *(f"size_of_{name}" for name in STRUCTURES)}


def test_without_a_compiler(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(UserWarning, match="2 to 15 times as long.*: no C.. compiler was found: install g..") as said:
        status = use()
    assert len(said) == 1
    assert status.startswith("unavailable: no C++ compiler was found")
    assert main(["build"]) == 1
    assert capsys.readouterr().err.startswith("build: no C++ compiler was found")


def test_a_failure_is_remembered_with_its_reason(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """By this process, by others for a while; asked for, or later, it is tried again."""
    found = machine.compiler(trouble=fails("kernel.cpp"))
    for _ in range(2):
        with pytest.warns(UserWarning, match="the plain one runs instead.*kernel.cpp is too much") as said:
            status = use()
        assert len(said) == 1
        assert status.endswith("c++: kernel.cpp is too much")
        assert len(found.kernels) == 1
        machine.restart()
    assert spatial_lstm.backends()["cpp"].endswith("kernel.cpp is too much")
    assert main(["build"]) == 1
    assert len(found.kernels) == 2
    monkeypatch.setattr(store, "REMEMBERED", 0.0)
    assert isinstance(library.load(), BuildError)
    assert len(found.kernels) == 3
    machine.compiler()
    machine.restart()
    assert isinstance(library.load(), ctypes.CDLL)


@pytest.mark.parametrize("where", ["nowhere", "package.zip/source"])
@pytest.mark.parametrize("compilers", [0, 1])
def test_without_the_source(
    where: str,
    compilers: int,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As in a zip file, or a program that was frozen without it: nothing is compiled, whether there is a compiler or none."""
    (machine.root / "package.zip").touch()
    found = [machine.compiler() for _ in range(compilers)]
    machine.forget_source(monkeypatch, machine.root / where)
    reason = "the kernel's source is not installed"
    assert spatial_lstm.backends()["cpp"].startswith(f"unavailable: {reason}")
    with pytest.warns(UserWarning, match=f"the plain one runs instead.*: {reason}.*{where}") as said:
        assert use().startswith(f"unavailable: {reason}")
    assert len(said) == 1
    for options in ([], ["--force"]):
        assert main(["build", *options]) == 1
        assert capsys.readouterr().err.startswith(f"build: {reason}")
    assert not any(one.calls for one in found)


@pytest.mark.parametrize("where", ["find", "build"])
def test_whatever_goes_wrong_layers_run(where: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one warning, not with an error in every call."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("not foreseen")

    machine.compiler()
    monkeypatch.setattr(store if where == "find" else library, "ready" if where == "find" else "_compile", fail)
    with pytest.warns(UserWarning, match="the plain one runs instead.*: RuntimeError: not foreseen") as said:
        assert use() == "unavailable: RuntimeError: not foreseen"
    assert len(said) == 1


@pytest.mark.skipif(sys.platform == "darwin", reason="names of files are UTF-8")
@pytest.mark.parametrize("what", ["compiler", "flags"])
def test_paths_that_are_not_utf8(
    what: str, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is told of them can be kept, printed and written."""
    if what == "flags":
        found = machine.compiler(trouble=fails("kernel.cpp"))
        monkeypatch.setenv("SPATIAL_LSTM_CXXFLAGS", "-I/caf\udce9")
    else:
        folder = machine.root / "caf\udce9"
        folder.mkdir()
        found = machine.compiler(f"{folder}/c++", fails("kernel.cpp"))
        monkeypatch.setenv("CXX", str(found.path))
    for _ in range(2):
        with pytest.warns(UserWarning, match="the plain one runs instead.*kernel.cpp is too much"):
            status = use()
        status.encode()
        assert what == "flags" or r"caf\udce9/c++" in status
        assert len(found.kernels) == 1
        machine.restart()
    assert main(["build"]) == 1
    assert "kernel.cpp is too much" in capsys.readouterr().err


def test_no_file_is_read_in_the_encoding_of_the_locale(machine: Machine) -> None:
    """Python can warn of it, which here would be an error."""
    machine.compiler(trouble=fails("kernel.cpp"))
    code = "import warnings, spatial_lstm.engine.kernels.cpp.library as library; warnings.simplefilter('ignore', UserWarning); "
    code += "[(library.load(), setattr(library, '_outcome', None)) for _ in range(2)]; print(library.find())"
    command = [sys.executable, "-X", "warn_default_encoding", "-W", "error::EncodingWarning", "-c", code]
    found = subprocess.run(command, capture_output=True, text=True)
    assert "kernel.cpp is too much" in found.stdout, found.stdout + found.stderr
    assert "EncodingWarning" not in found.stdout + found.stderr


def test_check_tells_the_reason(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from spatial_lstm.cli import check

    machine.compiler(trouble=fails())
    monkeypatch.setattr(check, "compare", lambda devices: [])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["check"]) == 0
    said = capsys.readouterr()
    assert "check: the C++ kernel cannot be used, the plain one runs instead" in said.err
    told = said.out
    assert "cpp: unavailable: " in told
    assert "this is too much" in told
    assert "cpp" not in told.splitlines()[0]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO(), None], ids=["terminal", "file", "none"])
def test_what_takes_long_is_said_once(
    stream: io.StringIO | None, machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a terminal whatever the level of logs, else in the log."""
    machine.compiler("c++", fails("kernel.cpp"))
    machine.compiler("g++")
    monkeypatch.setattr(sys, "stderr", stream)
    with caplog.at_level(logging.WARNING, logger="spatial_lstm"):
        library.build()
    text = "compiling the C++ kernel, once (a minute or so)"
    seen = isinstance(stream, Terminal)
    assert [record.message for record in caplog.records] == ([] if seen else [text])
    assert stream is None or stream.getvalue() == (f"{text}\n" if seen else "")


def test_switched_off() -> None:
    code = "import torch, spatial_lstm; print(spatial_lstm.backends()['cpp']); spatial_lstm.SpatialLSTM(1, 2)(torch.zeros(1, 1, 2, 2))"
    environment = os.environ | {"SPATIAL_LSTM_CPP": "0"}
    command = [sys.executable, "-W", "error", "-c", code]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "unavailable: switched off by SPATIAL_LSTM_CPP=0\n"
