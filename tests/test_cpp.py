"""The C++ kernel: how it is compiled, kept, missed; and what only it could get wrong. Equality is tested with all backends."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import spatial_lstm
from spatial_lstm.cli import main
from spatial_lstm.engine.kernels import KERNELS, UnsuitedError
from spatial_lstm.engine.kernels.cpp import kernel as cpp
from spatial_lstm.engine.kernels.cpp import library, memory
from tests.cases import VARIANTS, assert_close, gradients, knows, make_input, make_layer

needs_kernel = pytest.mark.skipif(
    KERNELS["cpp"].unavailable() is not None, reason=f"cpp: {KERNELS['cpp'].unavailable()}"
)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Nothing compiled and nothing loaded yet; returns the folder of libraries."""
    monkeypatch.setenv("SPATIAL_LSTM_CACHE", str(tmp_path))
    caches = (library.load, library._folder)
    for cached in caches:
        cached.cache_clear()
    yield tmp_path
    for cached in caches:
        cached.cache_clear()


def run_both(variant: str, hidden: int, inputs: int, dtype: torch.dtype, n: int = 2) -> None:
    """The kernel equals the plain one."""
    extents = {1: (9,), 2: (7, 5), 3: (3, 2, 4)}[n]
    results = []
    for backend in ("cpp", "plain"):
        torch.manual_seed(0)
        layer = make_layer(
            variant, inputs, hidden, spatial_dims=n, directions="all", dtype=dtype, scale=0.5 / hidden**0.5
        )
        layer.backend = backend
        x = make_input(layer, 3, extents)
        output = layer(x)[0]
        results.append([output, *gradients([output], [x, *layer.parameters()])])
    assert_close(results[0], results[1])


@needs_kernel
@pytest.mark.parametrize("inputs", [1, 7, 20])
@pytest.mark.parametrize("hidden", [1, 3, 8, 16, 17, 33, 50, 64, 80])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_every_width(hidden: int, inputs: int, dtype: torch.dtype) -> None:
    """Features fill one vector, part of one, several, and every width of a panel."""
    run_both("spatial-extended", hidden, inputs, dtype)


@needs_kernel
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if knows("cpp", variant)])
def test_wide_layers_of_every_cell(variant: str, n: int) -> None:
    run_both(variant, 21, 5, torch.float64, n)


@needs_kernel
def test_many_sites_at_a_step() -> None:
    """More rows than are held in cache at once, and a last group of every size."""
    for batch in (127, 240, 243):
        results = []
        for backend in ("cpp", "plain"):
            torch.manual_seed(0)
            layer = make_layer("graves-peephole", 2, 5, backend=backend)
            x = make_input(layer, batch, (3, 4))
            output = layer(x)[0]
            results.append([output, *gradients([output], [x, *layer.parameters()])])
        assert_close(*results)


@needs_kernel
@pytest.mark.parametrize("directions", [None, "all"])
def test_threads_change_no_bit(directions: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpp, "START_COST", 0)
    monkeypatch.setattr(cpp, "WAIT_COST", 0)
    layer = make_layer("stable", 3, 17, directions=directions, backend="cpp", dtype=torch.float32)
    x = make_input(layer, 3, (9, 6))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            output = layer(x)[0]
            results.append([output, *gradients([output], [x, *layer.parameters()])])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, results[0], strict=True))


@needs_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("variant", ["spatial", "graves", "stable"])
def test_gates_at_the_ends_of_the_range(variant: str, dtype: torch.dtype) -> None:
    """Saturated gates, and arguments near zero where precision is relative."""
    for scale in (1e-30, 1e-8, 1e-3, 30.0, 1e3, 1e30):
        results = []
        for backend in ("cpp", "plain"):
            torch.manual_seed(0)
            layer = make_layer(variant, 2, 4, backend=backend, bias=False, dtype=dtype)
            results.append(layer(make_input(layer, 2, (3, 4), grad=False) * scale)[0])
        largest = results[1].abs().max()
        assert (results[0] - results[1]).abs().max() <= 20 * torch.finfo(dtype).eps * largest


@needs_kernel
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_in_its_image(value: float) -> None:
    layer = make_layer("spatial", 2, 5, directions="all", backend="cpp")
    x = make_input(layer, 3, (4, 5), grad=False)
    clean, _ = layer(x)
    x[1, 0, 2, 2] = value
    dirty, _ = layer(x)
    assert torch.equal(clean[[0, 2]], dirty[[0, 2]])
    if value != value:
        assert dirty[1].isnan().any(0).any()


@needs_kernel
def test_what_it_does_not_take() -> None:
    with pytest.raises(UnsuitedError, match="not in torch.float16"):
        make_layer("spatial", 2, 3, backend="cpp", dtype=torch.float16)(torch.zeros(1, 2, 2, 2, dtype=torch.float16))
    with pytest.raises(UnsuitedError, match="at most 4 axes, not 5"):
        make_layer("spatial", 2, 3, backend="cpp", spatial_dims=5)(torch.zeros(1, 2, 1, 1, 1, 1, 2).double())
    output, _ = make_layer("spatial", 2, 3, spatial_dims=5)(torch.zeros(1, 2, 1, 1, 1, 1, 2).double())
    assert output.shape == (1, 3, 1, 1, 1, 1, 2)


def test_switched_off() -> None:
    code = "import torch, spatial_lstm; print(spatial_lstm.backends()['cpp']); spatial_lstm.SpatialLSTM(1, 2)(torch.zeros(1, 1, 2, 2))"
    environment = os.environ | {"SPATIAL_LSTM_CPP": "0"}
    command = [sys.executable, "-W", "error", "-c", code]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "unavailable: switched off by SPATIAL_LSTM_CPP=0\n"


def test_without_a_compiler(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no C++ compiler found" in spatial_lstm.backends()["cpp"]
    output, _ = spatial_lstm.SpatialLSTM(1, 2)(torch.zeros(1, 1, 2, 2))  # the plain kernel runs, without a warning
    assert output.shape == (1, 2, 2, 2)
    assert main(["build"]) == 1


def test_where_compiling_fails(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "false")
    with pytest.warns(UserWarning, match="the plain one runs instead"):
        spatial_lstm.SpatialLSTM(1, 2)(torch.zeros(1, 1, 2, 2))
    spatial_lstm.SpatialLSTM(1, 2)(torch.zeros(1, 1, 2, 2))  # warns once
    assert "failed" in spatial_lstm.backends()["cpp"]
    assert [p.name for p in fresh.iterdir()] == ["lock"]


@needs_kernel
def test_a_broken_library_does_not_load(fresh: Path) -> None:
    command = [library.compilers()[0], *next(library._flag_sets())]
    library._path(command).write_bytes(b"no library")
    with pytest.warns(UserWarning, match="does not load"):
        assert isinstance(library.load(), library.BuildError)


@needs_kernel
def test_compiled_once_and_found_again(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A stand-in for the compiler, which takes its time, is run once; without a compiler the library is still found."""
    script = fresh / "compiler"
    script.write_text(
        '#!/bin/sh\nwhile [ "$1" != "-o" ]; do shift; done\necho compiled > "$2"\necho ran >> "$(dirname "$0")/runs"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    assert main(["build"]) == 0
    assert main(["build"]) == 0
    assert (fresh / "runs").read_text() == "ran\n"
    assert main(["build", "--force"]) == 0
    assert (fresh / "runs").read_text() == "ran\nran\n"
    path = library.build()
    assert path.read_text() == "compiled\n"
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert library.build() == path


@needs_kernel
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if knows("cpp", variant)])
def test_recomputed_gates_are_the_saved_ones(variant: str, dtype: torch.dtype) -> None:
    """Bit by bit, over several windows of steps."""
    results = []
    for recompute in (False, True):
        torch.manual_seed(0)
        layer = make_layer(variant, 3, 18, directions="all", backend="cpp", dtype=dtype, recompute=recompute, scale=0.1)
        x = make_input(layer, 8, (20, 17))
        output = layer(x)[0]
        results.append([output, *gradients([output], [x, *layer.parameters()])])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_memory_of_large_tables_is_used_again() -> None:
    shape = (1 << 16, 17)
    first, second = memory.new_empty(shape, torch.float32), memory.new_empty(shape, torch.float32)
    assert first.shape == second.shape == shape
    places = {first.data_ptr(), second.data_ptr()}
    assert len(places) == 2
    view = first[5:].fill_(1.0)
    del first, second
    third = memory.new_empty(shape, torch.float32)  # that of the second: the first has a view that lives
    assert third.data_ptr() in places - {view.data_ptr() - 5 * 17 * 4}
    third.fill_(2.0)
    assert bool((view == 1).all())
    kept = third.data_ptr()
    del third
    smaller = memory.new_empty((1 << 16, 9), torch.float32)  # of varying sizes few blocks are kept
    assert smaller.data_ptr() == kept
    del smaller
    assert memory.new_empty((1 << 16, 7), torch.float32).data_ptr() != kept
    for _ in range(memory.PATIENCE - 1):
        assert kept in {block_start(block) for _, block in memory._free}
        memory.new_empty((4 * memory.LEAST,), torch.float64)
    assert kept not in {block_start(block) for _, block in memory._free}


def block_start(block: mmap.mmap) -> int:
    return torch.frombuffer(block, dtype=torch.uint8).data_ptr()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no such users")
def test_no_library_is_loaded_from_a_folder_that_others_can_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library.tempfile, "tempdir", str(tmp_path))
    own = library._temporary_folder()
    assert own.parent == tmp_path
    assert library._temporary_folder() == own
    assert own.stat().st_mode & 0o777 == 0o700
    own.chmod(0o777)
    other = library._temporary_folder()
    assert other not in (own, library._temporary_folder())
    own.rmdir()
    own.symlink_to(other)
    assert library._temporary_folder() != own


def test_small_tables_are_torchs() -> None:
    assert memory.new_empty((3, 0), torch.bfloat16).shape == (3, 0)
    tensor = memory.new_empty((3, 5), torch.bfloat16)
    assert (tensor.shape, tensor.dtype) == ((3, 5), torch.bfloat16)
    assert memory.new_empty((), torch.float64).numel() == 1
