"""The Triton kernels without a GPU: equal to the reference in Triton's interpreter, and compiled to machine code for three GPUs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.ahead_of_time import compile_for
from spatial_lstm.engine.cells import get_cell
from spatial_lstm.engine.cells.graves import GravesCell
from spatial_lstm.engine.kernels.triton import TRITON_KERNELS, TritonImagesKernel, TritonKernel
from spatial_lstm.engine.kernels.triton.choice import (
    BACKWARD,
    FORWARD,
    MOST_HIDDEN,
    POINTWISE,
    Device,
    Tile,
    choose,
    described,
    images_tile,
)
from spatial_lstm.engine.problem import Problem, make_problem
from spatial_lstm.engine.tensors import Tensors
from tests.cases import VARIANTS

ROOT = Path(__file__).parents[1]
LEAST_TRITON = (3, 4)


def why_no_triton() -> str | None:
    """What is wrong with the Triton that is installed, read without importing it."""
    try:
        found = importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        return "triton is not installed"
    return f"triton {found} is too old" if tuple(map(int, found.split(".")[:2])) < LEAST_TRITON else None


needs_triton = pytest.mark.skipif(why_no_triton() is not None, reason=str(why_no_triton()))

ARCHITECTURES = (80, 90, 100)
SHARED = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}  # bytes a block can have

# The assembler comes with Triton. That of 3.7 spills nothing of what is compiled here; those of 3.4, 3.6 and 3.8 up to 24 bytes of one.
SPILLED = {"3.7": 0}
SPILLED_ELSEWHERE = 24

TENSOR_CORES = r"\b(HMMA|HGMMA|UTC\w*MMA)\b"


def make(
    hidden: int,
    dtype: torch.dtype = torch.float32,
    extents: tuple[int, ...] = (4, 3),
    batch: int = 2,
    cell: str = "spatial",
) -> Problem:
    n = len(extents)
    x = torch.zeros(batch, *extents, 2, dtype=dtype)
    rows = get_cell(cell).blocks(n) * hidden
    weights = (x.new_zeros(1, rows, columns) for columns in (2, n * hidden))
    return make_problem(Tensors(x, *weights), None, "f" * n, cell)


@needs_triton
@pytest.mark.parametrize("chosen", ["triton-gates", "triton-step", "triton-images or more_images"])
def test_interpreted(chosen: str) -> None:
    """In a process of its own: whether Triton interprets is settled when it is imported."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/interpreted.py", "-k", chosen],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]


def tile_of(kernel: str, dtype: str, precision: str, hidden: int) -> Tile:
    kind = "half" if dtype != "fp32" else {"ieee": "exact", "tf32x3": "split", "tf32": "tf32"}[precision]
    if kernel.endswith("images"):
        return images_tile(hidden, kind)
    return (FORWARD if kernel.startswith("forward") else BACKWARD)[kind]


# Every kernel for every architecture; types, cells and sizes in turn, so that each meets each kernel on some architecture.
JOBS = [
    (kernel, architecture, *settings)
    for kernel, rows in [
        ("forward_step", [("fp32", "ieee", "spatial", 128), ("bf16", "tf32", "stable", 256), ("fp32", "tf32", "graves-peephole", 128)]),
        ("backward_step", [("fp32", "ieee", "stable", 128), ("bf16", "tf32", "spatial-extended", 256), ("fp32", "tf32", "spatial", 128)]),
        ("forward_images", [("fp32", "ieee", "graves-peephole", 32), ("fp16", "tf32", "spatial", 64), ("fp32", "tf32", "spatial", 64)]),
        ("backward_images", [("fp32", "ieee", "spatial", 32), ("fp16", "tf32", "graves-peephole", 64), ("fp32", "tf32", "stable", 64)]),
        ("forward_step", [("bf16", "tf32", "diagonal", 256), ("fp32", "tf32x3", "diagonal", 128), ("fp32", "tf32", "diagonal", 128)]),
        ("backward_step", [("fp32", "tf32x3", "diagonal", 128), ("fp32", "tf32", "diagonal", 128), ("bf16", "tf32", "diagonal", 256)]),
        ("forward_images", [("fp32", "tf32x3", "diagonal", 32), ("fp16", "tf32", "diagonal", 64), ("fp32", "tf32", "diagonal", 64)]),
        ("backward_images", [("fp32", "tf32", "diagonal", 64), ("fp32", "tf32x3", "diagonal", 32), ("fp16", "tf32", "diagonal", 64)]),
    ]
    for architecture, settings in zip(ARCHITECTURES, rows, strict=True)
]  # fmt: skip


def may_spill() -> int:
    """Bytes that a thread may have in memory for want of registers."""
    import triton

    return SPILLED.get(".".join(triton.__version__.split(".")[:2]), SPILLED_ELSEWHERE)


def constants_of(kernel: str, axes: int, hidden: int, precision: str) -> dict[str, Any]:
    constants = {"N": axes, "H": hidden, "PRECISION": precision}
    constants |= {"SAVE": True} if kernel.startswith("forward") else {"FACES": True}
    return constants | ({"PRODUCT": True} if kernel.endswith("step") else {"GROUP": 1})


@needs_triton
@pytest.mark.parametrize(("kernel", "architecture", "dtype", "precision", "variant", "hidden"), JOBS)
def test_compiles_ahead_of_time(
    kernel: str, architecture: int, dtype: str, precision: str, variant: str, hidden: int
) -> None:
    tile, constants = tile_of(kernel, dtype, precision, hidden), constants_of(kernel, 2, hidden, precision)
    done = compile_for(architecture, kernel, dtype, tile, variant, **constants)
    assert done.shared <= SHARED[architecture]
    assert done.registers <= 255
    assert done.stack <= may_spill()
    assert done.stack or not re.search(r"\b(STL|LDL)\b", done.code)
    assert bool(re.search(TENSOR_CORES, done.code)) == (precision != "ieee")
    # else what is computed might depend on what is saved
    assert bool(re.search(r"\bFFMA\b", done.code)) == (precision == "ieee")


@needs_triton
@pytest.mark.parametrize(
    ("kernel", "architecture", "precision", "variant", "hidden"),
    [
        ("forward_step", 80, "tf32x3", "spatial", 128),
        ("backward_step", 90, "tf32x3", "stable", 128),
        ("forward_images", 90, "tf32", "spatial", 64),
        ("backward_images", 80, "tf32", "stable", 64),
    ],
)
def test_folded_gates_compile(kernel: str, architecture: int, precision: str, variant: str, hidden: int) -> None:
    tile, constants = tile_of(kernel, "fp32", precision, hidden), constants_of(kernel, 2, hidden, precision)
    done = compile_for(architecture, kernel, "fp32", tile, variant, folded=True, **constants)
    assert done.shared <= SHARED[architecture]
    assert done.stack <= SPILLED_ELSEWHERE  # that of 3.7 spills 8 bytes of forward_images, too


@needs_triton
@pytest.mark.parametrize("kernel", ["forward_step", "backward_step"])
@pytest.mark.parametrize(("variant", "rows"), [("spatial-extended", 16), ("diagonal", 64)])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_volumes_compile(architecture: int, variant: str, rows: int, kernel: str) -> None:
    """A cell of six gates takes lower tiles than one of four."""
    cell = VARIANTS[variant]["cell"]
    choice = choose(make(128, torch.float16, extents=(4, 4, 4), batch=999, cell=cell), "step")
    tile = choice.forward if kernel.startswith("forward") else choice.backward
    assert tile.rows == rows
    done = compile_for(architecture, kernel, "fp16", tile, variant, **constants_of(kernel, 3, 128, "tf32"))
    assert done.shared <= SHARED[architecture]
    assert done.stack <= may_spill()


@needs_triton
@pytest.mark.parametrize("variant", ["stable", "diagonal"])
@pytest.mark.parametrize("kernel", ["forward_step", "backward_step"])
def test_gates_alone_compile(kernel: str, variant: str) -> None:
    constants = constants_of(kernel, 3, 512, "tf32x3") | {"PRODUCT": False}
    assert compile_for(90, kernel, "bf16", POINTWISE, variant, **constants).stack <= may_spill()


@needs_triton
@pytest.mark.parametrize("kernel", ["forward_step", "backward_step", "forward_images", "backward_images"])
def test_an_unknown_cell_does_not_compile(kernel: str) -> None:
    """It is not taken for another one."""
    constants = constants_of(kernel, 2, 32, "tf32x3") | {"CELL": "unheard-of"}
    from triton.compiler import CompilationError

    with pytest.raises(CompilationError) as failure:
        compile_for(90, kernel, "fp32", images_tile(32, "exact"), "graves", **constants)
    innermost: BaseException = failure.value
    while innermost.__cause__ is not None:
        innermost = innermost.__cause__
    assert "expected a cell with a" in str(innermost)


@pytest.mark.parametrize("allowed", [False, True])
def test_table_chooses_by_hidden_size_and_type(allowed: bool) -> None:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        found = [choose(make(hidden)) for hidden in (32, 64, 256)]
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    assert [c.variant for c in found] == ["images", "step", "step" if allowed else "gates"]
    assert {c.precision for c in found} == {"tf32" if allowed else "tf32x3"}
    for dtype in (torch.float16, torch.bfloat16):
        assert [choose(make(hidden, dtype)).variant for hidden in (64, 256, 257)] == ["images", "step", "gates"]


def test_multiply_adds_where_tensor_cores_are_no_faster() -> None:
    device = Device(100, False)
    assert {choose(make(hidden), device=device).precision for hidden in (32, 64, 256)} == {"ieee"}
    assert choose(make(64, torch.float16), device=device).precision == "tf32"


@pytest.mark.parametrize(
    ("major", "minor", "splits"), [(8, 0, True), (8, 6, False), (8, 9, False), (9, 0, True), (12, 0, False)]
)
def test_a_gpu_is_described(major: int, minor: int, splits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(multi_processor_count=7, major=major, minor=minor)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: found)
    described.cache_clear()
    assert described(torch.device("cuda", 0)) == Device(7, splits)
    described.cache_clear()


def test_multiply_adds_where_features_are_few() -> None:
    assert [choose(make(hidden), "step").precision for hidden in (8, 16, 17)] == ["ieee", "ieee", "tf32x3"]
    assert choose(make(16), "images").precision == "tf32x3"


def test_a_few_long_images_are_spread_over_the_gpu() -> None:
    assert choose(make(32, extents=(200, 200), batch=1)).variant == "step"
    assert choose(make(32, extents=(200, 4), batch=1)).variant == "images"


def test_tiles_shrink_until_no_multiprocessor_is_idle() -> None:
    few, many = (
        choose(make(128, torch.float16, batch=batch), "step", device=Device(100, True)).forward for batch in (2, 999)
    )
    assert (many.rows, many.features) == (64, 32)
    assert (few.rows, few.features) == (16, 16)


def test_images_share_a_program_only_where_there_are_many() -> None:
    assert choose(make(16, batch=4), "images", device=Device(2, True)).group == 2
    assert choose(make(16, batch=999), "images", device=Device(2, True)).group == 32 // 3
    assert choose(make(16, batch=4), "images", device=Device(100, True)).group == 1


def test_says_what_it_chose() -> None:
    text = str(choose(make(64, torch.float16)))
    assert text == "images, 1 images a program, tiles 16 x 64 and 16 x 64 forward and backward, products tf32"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_says_why_it_cannot_run() -> None:
    installed = importlib.util.find_spec("triton") is not None
    expected = "there is no CUDA device" if installed else "triton is not installed"
    assert {kernel.unavailable() for kernel in TRITON_KERNELS} == {expected}


def test_says_what_does_not_suit_it() -> None:
    assert "not on cpu" in str(TritonKernel().unsuited(make(8)))
    assert "not in torch.float64" in str(TritonKernel().unsuited(make(8, torch.float64)))


class UnheardOf(GravesCell):
    """A cell of which the kernels do not know."""

    name = "unheard-of"
    kernels = frozenset({"cpp"})


@pytest.mark.parametrize("kernel", TRITON_KERNELS, ids=lambda kernel: kernel.name)
def test_refuses_a_cell_that_it_does_not_know(kernel: TritonKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    problem = make(8)
    assert kernel.unsuited(problem) is None
    assert (
        kernel.unsuited(Problem(UnheardOf(), problem.grid, problem.tensors)) == "it does not know the cell 'unheard-of'"
    )


def test_persistent_kernel_refuses_what_it_cannot_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert TritonImagesKernel().unsuited(make(MOST_HIDDEN)) is None
    assert TritonImagesKernel().unsuited(make(MOST_HIDDEN + 1)) == "one program cannot hold 65 features"


def test_triton_is_imported_only_to_run() -> None:
    program = "import sys, spatial_lstm.engine.kernels.triton; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
