"""Libraries that a wheel brings: which one is taken, and when none is."""

from __future__ import annotations

import ctypes
import runpy
import shutil
from pathlib import Path

import pytest

from spatial_lstm.engine.kernels.cpp import cpu, library, prebuilt, recipe
from spatial_lstm.engine.kernels.cpp.compiler import BuildError
from tests.compilers import Machine

BEST, _, LEAST = recipe.BUILDS
ROOT = Path(__file__).parents[1]


@pytest.fixture
def brought(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose CPU can do everything, with a wheel's libraries."""
    folder = machine.root / "prebuilt"
    folder.mkdir()
    for build in recipe.BUILDS:
        shutil.copy(machine.compiled, folder / build.file)
    has_features(machine.root, monkeypatch, BEST.needs)
    return folder


def has_features(root: Path, patch: pytest.MonkeyPatch, features: frozenset[str]) -> None:
    """Let the CPU have some."""
    info = root / "cpuinfo"
    info.write_text(f"processor\t: 0\nflags\t\t: {' '.join(sorted(features))}\nbugs\t\t: some\n")
    patch.setattr(cpu, "INFO", info)


def taken() -> str:
    """The name of the file that was loaded."""
    found = library.load()
    assert isinstance(found, ctypes.CDLL)
    return Path(found._name).name


@pytest.mark.parametrize("build", recipe.BUILDS, ids=lambda build: build.name)
def test_the_fastest_that_the_cpu_can_run(
    build: recipe.Build, brought: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_features(machine.root, monkeypatch, build.needs)
    assert taken() == build.file
    assert machine.libraries == sorted(brought.iterdir())


def test_each_needs_more_than_the_next() -> None:
    needs = [build.needs for build in recipe.BUILDS]
    assert needs[0] > needs[1] > needs[2]


def test_an_old_cpu_compiles(brought: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine.compiler()
    has_features(machine.root, monkeypatch, LEAST.needs - {"avx2"})
    assert taken().endswith(".so")
    assert len(found.kernels) == 1


def test_a_system_that_lists_no_features_compiles(
    brought: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = machine.compiler()
    monkeypatch.setattr(cpu, "INFO", machine.root / "nowhere")
    library.load()
    assert len(found.kernels) == 1


def test_one_that_does_not_load_is_passed_over(brought: Path) -> None:
    (brought / BEST.file).write_bytes(b"no library")
    assert taken() == recipe.BUILDS[1].file


def test_one_of_another_source_is_not_taken(brought: Path) -> None:
    for file in list(brought.iterdir()):
        file.rename(brought / f"{file.stem[:-12]}{'0' * 12}.so")
    assert prebuilt.ready() is None
    with pytest.warns(UserWarning, match="no C.. compiler was found"):
        assert isinstance(library.load(), BuildError)


def test_own_flags_compile(brought: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine.compiler()
    monkeypatch.setenv("SPATIAL_LSTM_CXXFLAGS", "-g")
    library.load()
    assert len(found.kernels) == 1


def test_one_compiled_here_goes_before(brought: Path, machine: Machine) -> None:
    machine.compiler()
    built = library.build(force=True)
    machine.restart()
    assert taken() == Path(built.library._name).name
    assert not Path(built.library._name).is_relative_to(brought)


def test_the_recipe_needs_nothing_installed() -> None:
    """``setup.py`` runs it by its path, where there is no torch."""
    found = runpy.run_path(str(ROOT / "src/spatial_lstm/engine/kernels/cpp/recipe.py"))
    assert [build.file for build in found["BUILDS"]] == [build.file for build in recipe.BUILDS]
    assert found["KERNEL"].is_file()
