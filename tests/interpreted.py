"""Every Triton kernel against the NumPy reference, in Triton's interpreter; tests/test_triton.py runs this with ``TRITON_INTERPRET=1``."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from spatial_lstm.engine import reference_backend
from spatial_lstm.engine.cells import get_cell
from spatial_lstm.engine.compute import Options
from spatial_lstm.engine.geometry import face_positions
from spatial_lstm.engine.geometry.rows import Rows
from spatial_lstm.engine.kernels import FOLDED, GATES, STATES
from spatial_lstm.engine.kernels.triton import (
    TRITON_KERNELS,
    TritonImagesKernel,
    check,
    interpreted,
    launch,
    rows,
    trial,
)
from spatial_lstm.engine.kernels.triton.choice import Choice, Device, Tile, choose
from spatial_lstm.engine.kernels.triton.trial import Errors, Subject, measure
from spatial_lstm.engine.layout import face_shapes, flatten_faces
from spatial_lstm.engine.operator import run as run_operator
from spatial_lstm.engine.problem import make_problem
from spatial_lstm.engine.tensors import Tensors, state_dtype
from tests.cases import VARIANTS, assert_close, gradients

PINNED = [kernel.name for kernel in TRITON_KERNELS[1:]]


class Case(NamedTuple):
    """One problem."""

    batch: int
    extents: tuple[int, ...]
    hidden: int
    directions: str
    sizes: list[list[int]] | None = None
    faces: bool = True
    bias: bool = True
    keep: str = GATES


CASES = {
    "line": Case(2, (4,), 5, "f,r", [[4], [2]], keep=STATES),
    "image": Case(2, (2, 3), 5, "ff,rf"),
    "ragged": Case(2, (3, 2), 3, "fr", [[3, 1], [2, 2]]),
    "bare": Case(1, (2, 2), 17, "rr", faces=False, bias=False, keep=STATES),
    "held": Case(3, (2, 3), 18, "fr,rr"),
    "volume": Case(2, (2, 1, 2), 3, "frf", [[2, 1, 1], [1, 1, 2]]),
    "column": Case(1, (2, 1), 3, "ff"),
}


@pytest.fixture(autouse=True)
def only_interpreted() -> None:
    assert interpreted()


def make_tensors(variant: str, case: Case, dtype: torch.dtype = torch.float64) -> Tensors:
    options, n, h = VARIANTS[variant], len(case.extents), case.hidden
    rows = get_cell(options["cell"]).blocks(n) * h
    d, faces = len(case.directions.split(",")), face_positions(case.batch, case.extents)[-1]

    def draw(*shape: int, of: torch.dtype = dtype) -> Tensor:
        return (torch.randn(shape, dtype=torch.float64) * 0.5).to(of).requires_grad_()

    return Tensors(
        x=draw(case.batch, *case.extents, 2),
        weight_ih=draw(d, rows, 2),
        weight_hh=draw(d, rows, n * h),
        bias=draw(d, rows) if case.bias else None,
        weight_peephole=draw(d, 2 * n + 1, h) if "peephole" in options else None,
        weight_ch=draw(d, rows, n * h) if "extended" in options else None,
        h0=draw(d, faces, h) if case.faces else None,
        c0=draw(d, faces, h, of=state_dtype(dtype)) if case.faces else None,
    )


def cast(tensors: Tensors, dtype: torch.dtype) -> Tensors:
    moved = (None if t is None else t.detach().to(dtype).requires_grad_() for t in tensors)
    return Tensors._make(moved)._replace(
        c0=None if tensors.c0 is None else tensors.c0.detach().to(state_dtype(dtype)).requires_grad_()
    )


def run(kernel: str, variant: str, case: Case, tensors: Tensors, used: int = 3) -> list[Tensor]:
    """Output, far faces and all gradients of the first ``used`` of them."""
    sizes = None if case.sizes is None else torch.tensor(case.sizes)
    cell = VARIANTS[variant]["cell"]
    if kernel == "reference":
        results = reference_backend.forward(tensors, sizes, tuple(case.directions.split(",")), cell)
    else:
        output, *faces = run_operator(tensors, Options(sizes, case.directions, cell, kernel), case.keep)
        batch, *extents, _, hidden = output.shape
        shapes = face_shapes(batch, extents, hidden)
        results = (output, *(flatten_faces(own, own[0].dtype, shapes) for own in faces))
    inputs = [t for t in tensors if t is not None]
    return [*results, *gradients(results[:used], inputs)]


@pytest.mark.parametrize("kernel", PINNED)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_the_reference(variant: str, case: str, kernel: str) -> None:
    exact = make_tensors(variant, CASES[case])
    expected = run("reference", variant, CASES[case], exact)
    found = run(kernel, variant, CASES[case], cast(exact, torch.float32))
    assert_close(found, expected)


@pytest.mark.parametrize("kernel", PINNED)
@pytest.mark.parametrize(("variant", "case"), list(zip(VARIANTS, ["line", "ragged", "volume"] * 2, strict=True)))
def test_gates_in_16_bits(variant: str, case: str, kernel: str) -> None:
    """What is computed stays the same to the bit, gradients to what 16 bits can say."""
    tensors = cast(make_tensors(variant, CASES[case]), torch.float32)
    exact, found = (run(kernel, variant, CASES[case]._replace(keep=keep), tensors) for keep in (GATES, FOLDED))
    assert all(torch.equal(a, b) for a, b in zip(found[:3], exact[:3], strict=True))
    assert_close([t.bfloat16() for t in found[3:]], exact[3:])
    assert not all(torch.equal(a, b) for a, b in zip(found[3:], exact[3:], strict=True))


@pytest.mark.parametrize("kernel", PINNED)
@pytest.mark.parametrize("variant", ["spatial", "stable", "diagonal"])
def test_many_tiles(variant: str, kernel: str) -> None:
    """More rows and features than a tile has, hidden sizes that no tile divides, several images to a program."""
    case = Case(3, (2, 7), 37, "fr", [[2, 7], [1, 3], [2, 6]])
    exact = make_tensors(variant, case)
    assert_close(run(kernel, variant, case, cast(exact, torch.float32)), run("reference", variant, case, exact))


@pytest.mark.parametrize("kernel", PINNED)
def test_no_gradient_of_c_from_outside(kernel: str) -> None:
    exact = make_tensors("graves-peephole", CASES["ragged"])
    expected = run("reference", "graves-peephole", CASES["ragged"], exact, used=1)
    found = run(kernel, "graves-peephole", CASES["ragged"], cast(exact, torch.float32), used=1)
    assert_close(found, expected)


def test_more_images_than_one_to_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(5, (1, 7), 3, "ff", [[1, 7], [1, 2], [1, 5], [1, 1], [1, 6]])
    monkeypatch.setattr(
        TritonImagesKernel, "choice", lambda self, problem: choose(problem, "images", device=Device(2, True))
    )
    exact = make_tensors("graves", case)
    tensors = cast(exact, torch.float32)
    problem = make_problem(tensors, torch.tensor(case.sizes), "ff", "graves")
    assert TritonImagesKernel().choice(problem).group == 2
    assert_close(run("triton-images", "graves", case, tensors), run("reference", "graves", case, exact))


@pytest.mark.parametrize("kernel", PINNED)
@pytest.mark.parametrize("variant", ["spatial-extended", "stable", "diagonal"])
def test_half_precision_carries_c_in_float32(variant: str, kernel: str) -> None:
    """It is no more precise than the 16-bit gates that it is made of, but may be larger than 16 bits can say."""
    case = Case(1, (2, 2), 4, "ff")
    tensors = make_tensors(variant, case, torch.float16)
    expected = run("reference", variant, case, cast(tensors, torch.float64))
    found = run(kernel, variant, case, tensors)
    assert found[2].dtype == torch.float32
    assert_close(found, expected)


@pytest.mark.parametrize("kernel", PINNED)
def test_bitwise_repeatable(kernel: str) -> None:
    tensors = cast(make_tensors("graves-peephole", CASES["image"]), torch.float32)
    first, second = (run(kernel, "graves-peephole", CASES["image"], tensors) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def subject(kernel: str, variant: str, folded: bool = False) -> Subject:
    """For tiles so small that the problem of a check is small, too."""
    options, tile = VARIANTS[variant], Tile(4, 8, 8, 1, 1)
    hidden = 7 if kernel == "triton-images" else 11
    choice = Choice(kernel.removeprefix("triton-"), "tf32x3", 2, tile, tile)
    peephole, extended = "peephole" in options, "extended" in options
    return Subject(choice, options["cell"], 2, hidden, peephole, extended, torch.float32, torch.device("cpu"), folded)


@pytest.mark.parametrize("kernel", PINNED)
@pytest.mark.parametrize("variant", ["graves-peephole", "diagonal"])
@pytest.mark.parametrize("folded", [False, True])
def test_check_before_use_passes(folded: bool, variant: str, kernel: str) -> None:
    """What a GPU's kernels have to pass, within a tenth of their bound."""
    assert measure(subject(kernel, variant, folded)).within(Errors(1e-5, 1e-5))


@pytest.mark.parametrize("kernel", PINNED)
def test_check_before_use_finds_gates_that_are_not_folded(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "unfold", Tensor.float)
    assert not measure(subject(kernel, "graves-peephole", True)).within(Errors(1e-3, 1e-3))


@pytest.mark.parametrize("kernel", PINNED)
def test_check_before_use_finds_a_tile_that_is_not_computed(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = launch._images_grid if kernel == "triton-images" else launch._grid

    def one_less(*arguments: Any) -> tuple[int, int, int]:
        rows, features, directions = grid(*arguments)
        return max(1, rows - 1), features, directions

    monkeypatch.setattr(launch, grid.__name__, one_less)
    with pytest.warns(UserWarning, match="another kernel runs instead: they differ from the plain one by nan"):
        assert check.self_check(subject(kernel, "spatial")) is not None


def test_check_before_use_of_triton_step_finds_rows_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lazy(Rows):
        """Sums all rows but the first."""

        def total(self, table: Tensor) -> Tensor:
            return super().total(table[:, 1:])

    monkeypatch.setattr(trial, "ROWS", Lazy())
    monkeypatch.setattr(check, "_found", {})
    with pytest.warns(UserWarning, match="another kernel runs instead: they differ from the plain one"):
        assert check.self_check(subject("triton-step", "spatial")) is not None


@pytest.mark.parametrize("shape", [(2, 300, 5), (300, 40), (1, 1000, 160), (3, 600, 129)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_rows_of_triton_step(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """Taken to the bit, and summed in float32."""
    table = torch.randn(shape).to(dtype)
    index = torch.randint(shape[-2], (77,))
    found = rows.take(table, index, table.new_full((*shape[:-2], 77, shape[-1]), torch.nan))
    assert torch.equal(found, table.index_select(-2, index))
    assert_close([rows.total(table)], [table.double().sum(-2)])
