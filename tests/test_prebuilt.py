"""Libraries that a wheel brings: which one is taken, and when none is."""

from __future__ import annotations

import ctypes
import os
import runpy
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

import spatial_lstm
from spatial_lstm.__pyinstaller import get_hook_dirs
from spatial_lstm.cli import main
from spatial_lstm.engine.kernels.cpp import cpu, library, prebuilt, recipe
from spatial_lstm.engine.kernels.cpp.compiler import BuildError
from tests.compilers import Machine, damage

BEST, SECOND, *_, LEAST = X86 = [build for build in recipe.BUILDS if build.machine == "x86_64"]
(ARM,) = (build for build in recipe.BUILDS if build.machine == "aarch64")
ROOT = Path(__file__).parents[1]


@pytest.fixture
def brought(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose CPU can do everything, with a wheel's libraries."""
    folder = machine.root / "prebuilt"
    folder.mkdir()
    content = machine.compiled.read_bytes()
    for build in recipe.BUILDS:
        (folder / build.file(content)).write_bytes(content)
    has_features(machine.root, monkeypatch, BEST.needs)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(cpu, "grants_tiles", lambda: True)
    return folder


def has_features(root: Path, patch: pytest.MonkeyPatch, features: frozenset[str]) -> None:
    """Let the CPU have some."""
    info = root / "cpuinfo"
    info.write_text(f"processor\t: 0\nflags\t\t: {' '.join(sorted(features))}\nbugs\t\t: some\n")
    patch.setattr(cpu, "INFO", info)


def taken() -> Path:
    """The file that was loaded."""
    found = library.load()
    assert isinstance(found, ctypes.CDLL)
    return Path(found._name)


def brings(folder: Path, build: recipe.Build) -> Path:
    """A build's file in a wheel's folder."""
    (path,) = folder.glob(build.files)
    return path


@pytest.mark.parametrize("build", X86, ids=lambda build: build.name)
def test_the_fastest_that_the_cpu_can_run(
    build: recipe.Build, brought: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_features(machine.root, monkeypatch, build.needs)
    assert taken() == brings(brought, build)
    assert machine.libraries == sorted(brought.iterdir())


def test_every_arm_runs_the_one_for_arm(brought: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "INFO", brought / "nowhere")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert taken() == brings(brought, ARM)


def test_each_needs_more_than_the_next() -> None:
    needs = [build.needs for build in X86]
    assert all(more > less for more, less in pairwise(needs))


def test_a_matrix_unit_that_the_system_denies_is_done_without(brought: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such instructions would end the process."""
    monkeypatch.setattr(cpu, "grants_tiles", lambda: False)
    assert taken() == brings(brought, SECOND)


def test_an_old_cpu_compiles(brought: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine.compiler()
    has_features(machine.root, monkeypatch, LEAST.needs - {"avx2"})
    assert not taken().is_relative_to(brought)
    assert len(found.kernels) == 1


def test_a_system_that_lists_no_features_compiles(
    brought: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = machine.compiler()
    monkeypatch.setattr(cpu, "INFO", machine.root / "nowhere")
    library.load()
    assert len(found.kernels) == 1


def test_one_that_does_not_load_is_passed_over(brought: Path) -> None:
    brings(brought, BEST).unlink()
    (brought / BEST.file(b"no library")).write_bytes(b"no library")
    assert taken() == brings(brought, SECOND)


@pytest.mark.parametrize("how", ["empty", "cut", "flipped"])
def test_a_damaged_one_is_passed_over_with_words(how: str, brought: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Such as a full disk leaves: the system would load it, and end the process, or compute otherwise."""
    path = brings(brought, BEST)
    damage(path, how)
    assert taken() == brings(brought, SECOND)
    assert f"{path.name}, which the wheel brought, cannot be used: " in caplog.text
    assert f"{path} is damaged; install the wheel again" in caplog.text


def test_a_list_of_features_in_no_encoding_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_bytes(b"model name\t: CPU\xae\nflags\t\t: avx avx2\n")
    monkeypatch.setattr(cpu, "INFO", tmp_path / "cpuinfo")
    assert cpu.features() == {"avx", "avx2"}


def test_an_openmp_runtime_is_found_in_a_folder_of_any_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/my site\xff"
    maps = b"7f0-7f1 r-xp 0 08:01 12   " + folder + b"/libgomp-24e2ab19.so.1.0.0\n7f1-7f2 rw-p 0 00:00 0\n"
    opened: list[str] = []
    monkeypatch.setattr(Path, "read_bytes", lambda _: maps)
    monkeypatch.setattr(ctypes, "CDLL", lambda path, mode: opened.append(path))
    prebuilt._offer_openmp()
    assert opened == [os.fsdecode(folder) + "/libgomp-24e2ab19.so.1.0.0"]


def test_one_of_another_source_is_not_taken(brought: Path) -> None:
    for file in list(brought.iterdir()):
        file.rename(brought / file.name.replace(recipe.source_digest()[:12], "0" * 12))
    assert prebuilt.ready() is None
    with pytest.warns(UserWarning, match="no C.. compiler was found"):
        assert isinstance(library.load(), BuildError)


def test_the_source_need_not_be_installed(
    brought: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where a program was frozen: the wheel's note says of which source its libraries are."""
    (brought / recipe.NOTE).write_text(f"{recipe.source_digest()}\n")
    (brought / SECOND.files.replace(recipe.source_digest()[:12], "0" * 12)).touch()
    best = brings(brought, BEST)
    machine.forget_source(monkeypatch)
    assert spatial_lstm.backends()["cpp"] == "available"
    assert taken() == best
    assert main(["build"]) == 0
    assert capsys.readouterr().out.startswith(str(best))
    assert main(["build", "--force"]) == 1
    assert "the kernel's source is not installed" in capsys.readouterr().err


def test_libraries_of_nobody_knows_which_source_are_not_taken(
    brought: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.forget_source(monkeypatch)
    assert "the kernel's source is not installed" in str(library.load())


def test_a_note_does_not_speak_for_a_source_that_is_there(
    brought: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was changed is compiled."""
    (brought / recipe.NOTE).write_text(recipe.source_digest())
    changed = shutil.copytree(recipe.SOURCE, machine.root / "changed")
    (changed / "kernel.cpp").write_text("// changed")
    found = machine.compiler()
    machine.forget_source(monkeypatch, changed)
    assert not taken().is_relative_to(brought)
    assert len(found.kernels) == 1


def test_own_flags_compile(brought: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine.compiler()
    monkeypatch.setenv("SPATIAL_LSTM_CXXFLAGS", "-g")
    library.load()
    assert len(found.kernels) == 1


def test_one_compiled_here_goes_before(brought: Path, machine: Machine) -> None:
    machine.compiler()
    built = library.build(force=True)
    machine.restart()
    assert taken() == Path(built.library._name)
    assert not taken().is_relative_to(brought)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What ``setup.py`` runs for a wheel of x86-64 Linux, every time to make a file of few bytes."""
    setuptools, found = pytest.importorskip("setuptools"), []
    pytest.importorskip("setuptools.command.bdist_wheel")
    monkeypatch.setattr(setuptools, "setup", lambda **_: None)
    monkeypatch.setattr("setuptools.command.build_py.build_py.run", lambda _: None)
    monkeypatch.setenv("_PYTHON_HOST_PLATFORM", "linux-x86_64")

    def run(command: list[str], check: bool) -> None:
        found.append(command)
        Path(command[-1]).write_bytes(b"library")

    monkeypatch.setattr("subprocess.run", run)
    return found


def build_wheel(folder: Path) -> None:
    command = object.__new__(runpy.run_path(str(ROOT / "setup.py"))["BuildWithKernel"])
    command.build_lib = str(folder)
    command.run()


def test_a_wheel_is_compiled_by_a_compiler_with_arguments(
    commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "ccache 'my g++'")
    build_wheel(tmp_path)
    assert commands
    assert all(command[:2] == ["ccache", "my g++"] for command in commands)


def test_what_libraries_of_a_wheel_share_is_compiled_once(commands: list[list[str]], tmp_path: Path) -> None:
    """Only bfloat16 is compiled for the CPU's instructions for it."""
    build_wheel(tmp_path)
    compiled = [command for command in commands if "-c" in command]
    linked = [command for command in commands if "-c" not in command]
    assert len({tuple(command[:-1]) for command in compiled}) == len(compiled)
    assert Counter(Path(command[-3]).stem for command in compiled) == {
        "kernel": 2,
        "float32": 2,
        "float64": 2,
        "bfloat16": 4,
    }
    for build, command in zip(X86, linked, strict=True):
        objects = [made for made in compiled if made[-1] in command]
        assert [Path(made[-3]) for made in objects] == [recipe.KERNEL, *recipe.PARTS]
        assert all(set(build.flags) <= set(made) for made in objects)
        assert [set(build.in_16_bits) <= set(made) for made in objects] == [not build.in_16_bits] * 3 + [True]


def test_a_wheel_notes_of_which_source_its_libraries_are(commands: list[list[str]], tmp_path: Path) -> None:
    build_wheel(tmp_path)
    assert commands
    (note,) = tmp_path.rglob(recipe.NOTE)
    assert note.read_text() == recipe.source_digest()
    assert {path.name for path in note.parent.iterdir()} == {recipe.NOTE, *(build.file(b"library") for build in X86)}


def test_frozen_programs_take_the_kernel_along() -> None:
    """PyInstaller runs the hook, and copies these folders to those."""
    (folder,) = get_hook_dirs()
    found = runpy.run_path(f"{folder}/hook-spatial_lstm.py")["datas"]
    brought = [(str(recipe.PREBUILT), "spatial_lstm/engine/kernels/cpp/prebuilt")] if recipe.PREBUILT.is_dir() else []
    assert found == [(str(recipe.SOURCE), "spatial_lstm/engine/kernels/cpp/source"), *brought]


@pytest.mark.parametrize(
    ("system", "names"),
    [
        ("linux-x86_64", ["amx", "avx512_bf16", "avx512", "avx2"]),
        ("linux-aarch64", ["neon"]),
        ("macosx-11.0-arm64", []),
    ],
)
def test_a_wheel_has_what_its_system_can_run(system: str, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """That of another, too, as the variable says that Python itself asks."""
    setuptools = pytest.importorskip("setuptools")
    pytest.importorskip("setuptools.command.bdist_wheel")
    made: list[dict[str, object]] = []
    monkeypatch.setattr(setuptools, "setup", lambda **options: made.append(options))
    monkeypatch.setenv("_PYTHON_HOST_PLATFORM", system)
    monkeypatch.setenv("SPATIAL_LSTM_PREBUILT", "1")
    if not names:
        with pytest.raises(SystemExit, match="expected x86-64 or aarch64 Linux .* got macosx-11.0-arm64"):
            runpy.run_path(str(ROOT / "setup.py"))
        return
    assert [build.name for build in runpy.run_path(str(ROOT / "setup.py"))["builds"]()] == names
    assert made[0].keys() == {"cmdclass", "distclass"}


def test_what_is_built_here_is_not_published_as_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that was built holds the paths of the machine."""
    pytest.importorskip("setuptools")
    from setuptools.command.egg_info import FileList

    for name in ("docs/index.md", "docs/_build/html/.doctrees/environment.pickle", "tests/__pycache__/a.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    listed = FileList()
    for line in (ROOT / "MANIFEST.in").read_text().splitlines():
        listed.process_template_line(line)
    assert listed.files == ["docs/index.md"]


def test_the_recipe_needs_nothing_installed() -> None:
    """``setup.py`` runs it by its path, where there is no torch."""
    found = runpy.run_path(str(ROOT / "src/spatial_lstm/engine/kernels/cpp/recipe.py"))
    assert [build.file(b"x") for build in found["BUILDS"]] == [build.file(b"x") for build in recipe.BUILDS]
    assert all(path.is_file() for path in (found["KERNEL"], *found["PARTS"]))
