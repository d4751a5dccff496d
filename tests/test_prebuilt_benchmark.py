"""The benchmark of a wheel's libraries, on a wheel made here."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch

from benchmarks import prebuilt
from benchmarks.fields import Size
from benchmarks.harness import Budget, Settings
from spatial_lstm.engine.kernels.cpp import cpu, library, recipe
from tests.compilers import Machine

BUILDS = [build for build in recipe.BUILDS if build.machine == platform.machine()]
pytestmark = pytest.mark.skipif(not BUILDS, reason="no wheel is made for this machine")


@pytest.fixture
def dist(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a wheel whose libraries are all the same, on a CPU that can run them."""
    machine.compiler()
    content = machine.compiled.read_bytes()
    folder = machine.root / "dist"
    folder.mkdir()
    with ZipFile(folder / f"spatial_lstm-0-py3-none-any_{platform.machine()}.whl", "w") as wheel:
        for build in BUILDS:
            wheel.writestr(f"spatial_lstm/prebuilt/{build.file(content)}", content)
    monkeypatch.setattr(cpu, "features", lambda: BUILDS[0].needs)
    monkeypatch.setattr(prebuilt, "DIST", folder)
    return folder


def test_all_libraries_are_timed(
    dist: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prebuilt, "SIZES", (Size(2, (4, 3), 3, 4), Size(1, (2, 5), 3, 4)))
    monkeypatch.setattr(prebuilt, "QUICK_BUDGET", Budget(0.0, least=2, most=2))
    monkeypatch.setattr(prebuilt, "SHORTEST_SAMPLE", 0.0)
    before = library.load()
    results = prebuilt.run(Settings(dist / "machine", (1,), quick=True))
    assert library.load() is before
    assert len(results["rows"]) == 8  # sizes, types, modes
    names = [prebuilt.NATIVE, *(build.name for build in BUILDS)]
    for row in results["rows"]:
        assert list(row["cpu_seconds"]) == names
        assert all(len(samples) == 2 and min(samples) > 0 for samples in row["cpu_seconds"].values())
    told = capsys.readouterr().out
    assert "| 2 x 4x3, 3 to 4 | bfloat16 | inference | 1 |" in told
    assert "| float32, training |" in told


def test_the_kernel_runs_the_library_that_is_timed(dist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = prebuilt.libraries(dist)
    assert len({id(one) for one in found.values()}) == len(found)
    used: list[object] = []
    monkeypatch.setattr(library, "load", lambda: used.append(library._outcome) or library._outcome)
    field = prebuilt.Field(Size(1, (2, 2), 1, 2))
    for contestant in prebuilt.line_up(field, torch.float32, found, training=False):
        used.clear()
        contestant.run()
        assert {id(one) for one in used} == {id(found[contestant.name])}


def test_a_ratio_is_that_of_medians_of_rounds() -> None:
    row = {"size": {"label": "small"}, "dtype": "float32", "mode": "training", "threads": 1}
    rows = [row | {"cpu_seconds": {"native": [1e-3, 2e-3, 1e-3], "avx2": [2e-3, 4e-3, 9e-3]}}]
    assert "| small | float32 | training | 1 | 1.00 | 2.000 |" in prebuilt.table({"rows": rows})
    assert "| float32, training | 2.000 |" in prebuilt.summary({"rows": rows})


def test_without_a_wheel_of_this_source_nothing_is_timed(dist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "source_digest", lambda: "0" * 64)
    monkeypatch.setattr(library, "build", lambda: library.Built(ctypes.CDLL(None)))
    with pytest.raises(ValueError, match="expected libraries of this source in .*, got others"):
        prebuilt.libraries(dist)
    with pytest.raises(ValueError, match="expected one wheel for .* in .*machine, got 0: .ci/wheel makes it"):
        prebuilt.libraries(dist / "machine")
