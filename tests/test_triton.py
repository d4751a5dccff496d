"""The Triton kernels without a GPU: equal to the reference in Triton's interpreter, and compiled to machine code for three GPUs."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from spatial_lstm.engine.kernels.triton import TRITON_KERNELS, TritonImagesKernel, TritonKernel, check
from spatial_lstm.engine.kernels.triton.choice import (
    BACKWARD,
    FORWARD,
    MOST_HIDDEN,
    POINTWISE,
    Tile,
    choose,
    images_tile,
)
from spatial_lstm.engine.problem import Problem, make_problem
from spatial_lstm.engine.tensors import Tensors
from tests.cases import VARIANTS

ROOT = Path(__file__).parents[1]
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")

ARCHITECTURES = (80, 90, 100)
SHARED = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}  # bytes a block can have
TENSOR_CORES = r"\b(HMMA|HGMMA|UTC\w*MMA)\b"


def make(hidden: int, dtype: torch.dtype = torch.float32, extents: tuple[int, ...] = (4, 3), batch: int = 2) -> Problem:
    n = len(extents)
    x = torch.zeros(batch, *extents, 2, dtype=dtype)
    weights = (x.new_zeros(1, (3 + n) * hidden, columns) for columns in (2, n * hidden))
    return make_problem(Tensors(x, *weights), None, "f" * n, "spatial")


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


class Compiled(NamedTuple):
    """What a kernel takes of a multiprocessor, and its machine code."""

    shared: int
    registers: int
    stack: int
    code: str


def compile_for(architecture: int, kernel: str, dtype: str, tile: Tile, variant: str, **constants: Any) -> Compiled:
    """Compile one of the launched kernels as torch's allocations and the launcher would have it."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from spatial_lstm.engine.kernels.triton.device import launched

    options = VARIANTS[variant]
    constants |= {"CELL": options["cell"], "BM": tile.rows, "BH": tile.features, "BK": tile.inner}
    absent = {"back", "back_ch"} if constants.get("PRODUCT", True) else set()
    absent |= {name for name, option in (("weight_ch", "extended"), ("peephole", "peephole")) if option not in options}
    function = getattr(launched, kernel)
    signature, fixed, aligned = {}, {}, {}
    for place, name in enumerate(function.arg_names):
        if name in constants or name in absent:
            signature[name], fixed[(place,)] = "constexpr", constants.get(name)
        elif name in launched.RUNTIME:
            signature[name] = "i32"
        else:
            wide = {"pred": "*i64", "succ": "*i64", "bounds": "*i64"}
            signature[name] = wide.get(name, "*fp32" if name in ("c", "dc", "total", "dc0") else f"*{dtype}")
            aligned[(place,)] = [["tt.divisibility", 16]]
    done: Any = triton.compile(
        ASTSource(function, signature, fixed, aligned),
        target=GPUTarget("cuda", architecture, 32),
        options={"num_warps": tile.warps, "num_stages": tile.stages},
    )
    return inspect(Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump", done)


def inspect(tool: Path, done: Any) -> Compiled:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(done.asm["cubin"])
        file.flush()
        usage, code = (
            subprocess.run([tool, option, file.name], capture_output=True, text=True, check=True).stdout
            for option in ("--dump-resource-usage", "-sass")
        )
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    assert found is not None, usage
    return Compiled(done.metadata.shared, int(found[1]), int(found[2]), code)


def tile_of(kernel: str, dtype: str, precision: str, hidden: int) -> Tile:
    kind = "half" if dtype != "fp32" else "exact" if precision == "ieee" else "tf32"
    if kernel.endswith("images"):
        return images_tile(hidden, kind)
    return (FORWARD if kernel.startswith("forward") else BACKWARD)[kind]


# Every kernel for every architecture; types, cells and sizes in turn, so that each meets each kernel on some architecture.
JOBS = [
    (kernel, architecture, *settings)
    for kernel, rows in {
        "forward_step": [("fp32", "ieee", "spatial", 128), ("bf16", "tf32", "stable", 256), ("fp32", "tf32", "graves-peephole", 128)],
        "backward_step": [("fp32", "ieee", "stable", 128), ("bf16", "tf32", "spatial-extended", 256), ("fp32", "tf32", "spatial", 128)],
        "forward_images": [("fp32", "ieee", "graves-peephole", 32), ("fp16", "tf32", "spatial", 64), ("fp32", "tf32", "spatial", 64)],
        "backward_images": [("fp32", "ieee", "spatial", 32), ("fp16", "tf32", "graves-peephole", 64), ("fp32", "tf32", "stable", 64)],
    }.items()
    for architecture, settings in zip(ARCHITECTURES, rows, strict=True)
]  # fmt: skip


@needs_triton
@pytest.mark.parametrize(("kernel", "architecture", "dtype", "precision", "variant", "hidden"), JOBS)
def test_compiles_ahead_of_time(
    kernel: str, architecture: int, dtype: str, precision: str, variant: str, hidden: int
) -> None:
    constants: dict[str, Any] = {"N": 2, "H": hidden, "PRECISION": precision}
    constants |= {"SAVE": True} if kernel.startswith("forward") else {"FACES": True}
    constants |= {"PRODUCT": True} if kernel.endswith("step") else {"GROUP": 1}
    done = compile_for(architecture, kernel, dtype, tile_of(kernel, dtype, precision, hidden), variant, **constants)
    assert done.shared <= SHARED[architecture]
    assert done.registers <= 255
    assert done.stack == 0
    assert not re.search(r"\b(STL|LDL)\b", done.code)
    assert bool(re.search(TENSOR_CORES, done.code)) == (precision == "tf32")


@needs_triton
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_volumes_compile(architecture: int) -> None:
    tile = choose(make(128, torch.float16, extents=(4, 4, 4), batch=99), "step").forward
    constants = {"N": 3, "H": 128, "PRECISION": "tf32", "SAVE": True, "PRODUCT": True}
    assert compile_for(architecture, "forward_step", "fp16", tile, "spatial-extended", **constants).stack == 0


@needs_triton
@pytest.mark.parametrize("kernel", ["forward_step", "backward_step"])
def test_gates_alone_compile(kernel: str) -> None:
    constants: dict[str, Any] = {"N": 3, "H": 512, "PRECISION": "ieee", "PRODUCT": False}
    constants |= {"SAVE": True} if kernel.startswith("forward") else {"FACES": True}
    done = compile_for(90, kernel, "bf16", POINTWISE, "stable", **constants)
    assert done.stack == 0


@pytest.mark.parametrize("allowed", [False, True])
def test_table_chooses_by_hidden_size_and_type(allowed: bool) -> None:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        found = [choose(make(hidden)) for hidden in (32, 64, 256)]
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    assert [c.variant for c in found] == (["images", "images", "step"] if allowed else ["images", "step", "gates"])
    assert {c.precision for c in found} == {"tf32" if allowed else "ieee"}
    for dtype in (torch.float16, torch.bfloat16):
        assert [choose(make(hidden, dtype)).variant for hidden in (64, 256, 257)] == ["images", "step", "gates"]


def test_a_few_long_images_are_spread_over_the_gpu() -> None:
    assert choose(make(32, extents=(200, 200), batch=1)).variant == "step"
    assert choose(make(32, extents=(200, 4), batch=1)).variant == "images"


def test_tiles_shrink_until_no_multiprocessor_is_idle() -> None:
    few, many = (
        choose(make(128, torch.float16, batch=batch), "step", multiprocessors=100).forward for batch in (2, 999)
    )
    assert (many.rows, many.features) == (64, 32)
    assert (few.rows, few.features) == (16, 16)


def test_images_share_a_program_only_where_there_are_many() -> None:
    assert choose(make(16, batch=4), "images", multiprocessors=2).group == 2
    assert choose(make(16, batch=999), "images", multiprocessors=2).group == 32 // 3
    assert choose(make(16, batch=4), "images", multiprocessors=100).group == 1


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


def test_persistent_kernel_refuses_what_it_cannot_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert TritonImagesKernel().unsuited(make(MOST_HIDDEN)) is None
    assert TritonImagesKernel().unsuited(make(MOST_HIDDEN + 1)) == "one program cannot hold 65 features"


def test_triton_is_imported_only_to_run() -> None:
    program = "import sys, spatial_lstm.engine.kernels.triton; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [(0.5, "differ from the plain one by 0.5"), (RuntimeError("no such card"), "no such card"), (1e-4, None)],
)
def test_auto_relies_only_on_kernels_that_reproduce_the_plain_one(
    outcome: float | Exception, reason: str | None, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    def error(problem: Problem, variant: str) -> float:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(check, "_error", error)
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    found = check.self_check.__wrapped__("step", "spatial", 2, False, False, torch.float32, torch.device("cpu"))
    if reason is None:
        assert found is None
        assert not recwarn.list
    else:
        assert found is not None
        assert reason in found
        assert "the plain kernel runs instead" in str(recwarn.pop(UserWarning).message)
