"""The check that compiled kernels have to pass before ``"auto"`` relies on them, without a GPU: the plain kernel stands in for them."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from spatial_lstm.engine.cells import get_cell
from spatial_lstm.engine.geometry import Grid, make_plan
from spatial_lstm.engine.kernels import GATES, triton
from spatial_lstm.engine.kernels.plain import PlainKernel
from spatial_lstm.engine.kernels.triton import TRITON_KERNELS, TritonKernel, check
from spatial_lstm.engine.kernels.triton.choice import BACKWARD, FORWARD, IMAGES, POINTWISE, Choice, Tile, choose
from spatial_lstm.engine.kernels.triton.trial import Errors, Subject, draw_tensors, field_of, measure, subject_of
from spatial_lstm.engine.problem import Problem, make_problem
from tests.cases import VARIANTS

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")

SMALL = Choice("step", "tf32x3", 1, Tile(4, 8, 8, 1, 1), Tile(4, 8, 8, 1, 1))
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
NO_ERRORS = Errors(0.0, 0.0)


def subject(
    variant: str = "spatial", axes: int = 2, dtype: torch.dtype = torch.float32, choice: Choice = SMALL
) -> Subject:
    options = VARIANTS[variant]
    peephole, extended = "peephole" in options, "extended" in options
    return Subject(choice, options["cell"], axes, 33, peephole, extended, dtype, torch.device("cpu"))


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_found", {})


Change = Callable[[Problem], Problem]


def stand_in(
    monkeypatch: pytest.MonkeyPatch, change: Change = lambda problem: problem, spoil: bool = False
) -> list[Choice]:
    """Let the plain kernel do what the compiled ones should, on a changed problem, or but for a row that it leaves out.

    Returns:
        The choices that it was called for, as they come.
    """
    from spatial_lstm.engine.kernels.triton import launch

    choices: list[Choice] = []

    def forward(problem: Problem, choice: Choice, keep: str) -> tuple[Tensor, Tensor, Tensor | None]:
        choices.append(choice)
        return PlainKernel().forward_tables(change(problem), keep)

    def backward(problem: Problem, choice: Choice, *tables: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        choices.append(choice)
        dz, dh0, dc0 = PlainKernel().backward_tables(change(problem), *tables)
        if spoil:
            dz[1, -1] = 0
        return dz, dh0, dc0

    monkeypatch.setattr(launch, "forward", forward)
    monkeypatch.setattr(launch, "backward", backward)
    return choices


@needs_triton
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_rounding_is_far_below_the_bound(
    variant: str, axes: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = stand_in(monkeypatch)
    asked = subject(variant, axes, dtype)
    bound = check.bound_of(asked)
    assert measure(asked).within(Errors(bound.largest / 5, bound.rms / 5))
    assert check.self_check(asked) is None
    assert choices == [asked.choice] * 4


def other_cell(problem: Problem) -> Problem:
    other = get_cell("graves" if problem.cell.name != "graves" else "spatial")
    return Problem(other, problem.grid, problem.tensors)


@needs_triton
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("variant", ["spatial", "graves", "stable"])
def test_equations_of_another_cell_are_far_above_it(
    variant: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, other_cell)
    asked = subject(variant, 2, dtype)
    bound = check.bound_of(asked)
    assert not measure(asked).within(Errors(2 * bound.largest, 2 * bound.rms))


@needs_triton
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_left_out_is_found(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, spoil=True)
    with pytest.warns(
        UserWarning, match=r"\(step, tiles 4 x 8 .* another kernel runs instead: they differ from the plain"
    ):
        found = check.self_check(subject(dtype=dtype))
    assert found is not None


def test_the_problem_is_one_that_every_kernel_stays_near_one_on() -> None:
    for variant in VARIANTS:
        for axes in (1, 2, 3, 4):
            tensors = draw_tensors(subject(variant, axes), torch.Generator().manual_seed(0))
            problem = make_problem(tensors, None, "f" * axes + "," + "r" * axes, VARIANTS[variant]["cell"])
            c = PlainKernel().forward_tables(problem.lean(), GATES)[1]
            assert 0.5 < c.abs().max() < 5


TILES = [*FORWARD.values(), *BACKWARD.values(), POINTWISE]


@pytest.mark.parametrize("axes", [1, 2, 3, 4])
def test_steps_have_a_whole_tile_and_one_cut_off(axes: int) -> None:
    for forward, backward in itertools.product(TILES, repeat=2):
        images, extents = field_of(Choice("step", "tf32x3", 1, forward, backward), axes)
        plan = make_plan(Grid(images, extents, ["f" * axes]))
        for tile in (forward, backward):
            assert max(plan.block_sizes) > tile.rows
            assert any(rows % tile.rows for rows in plan.block_sizes)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("group", [1, 2, 5, 32])
@pytest.mark.parametrize("rows", sorted({tile.rows for tiles in IMAGES.values() for tile in tiles.values()}))
def test_programs_have_tiles_one_after_the_other_and_one_has_an_image_left_over(
    rows: int, group: int, axes: int
) -> None:
    tile = Tile(rows, 16, 16, 4, 1)
    images, extents = field_of(Choice("images", "tf32x3", group, tile, tile), axes)
    assert images == group + 1
    longest = max(make_plan(Grid(1, extents, ["f" * axes])).block_sizes)
    assert axes == 1 or longest * group > rows


def count(monkeypatch: pytest.MonkeyPatch, *outcomes: Errors | Exception) -> list[Subject]:
    """Let each measurement have the next of some outcomes; what was measured is listed."""
    asked: list[Subject] = []

    def stub(subject: Subject) -> Errors:
        asked.append(subject)
        outcome = outcomes[len(asked) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(check, "measure", stub)
    return asked


def test_each_subject_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = subject()
    changed = [
        first._replace(choice=SMALL._replace(group=2)),
        first._replace(choice=SMALL._replace(backward=Tile(8, 8, 8, 1, 1))),
        first._replace(choice=SMALL._replace(precision="tf32")),
        first._replace(cell="stable"),
        first._replace(axes=3),
        first._replace(hidden=34),
        first._replace(peephole=True),
        first._replace(extended=True),
        first._replace(dtype=torch.float16),
        first._replace(device=torch.device("meta")),
    ]
    asked = count(monkeypatch, *[NO_ERRORS] * 11)
    for _ in range(2):
        assert [check.self_check(one) for one in (first, *changed)] == [None] * 11
    assert asked == [first, *changed]


@pytest.mark.parametrize(
    ("dtype", "precision", "good", "bad"),
    [
        (torch.float32, "ieee", Errors(5e-5, 5e-5), Errors(2e-4, 5e-5)),
        (torch.float32, "tf32x3", Errors(5e-5, 5e-5), Errors(2e-4, 5e-5)),
        (torch.float32, "tf32", Errors(5e-3, 5e-3), Errors(2e-2, 5e-3)),
        (torch.float16, "tf32", Errors(5e-3, 2e-3), Errors(5e-3, 4e-3)),
        (torch.bfloat16, "tf32", Errors(4e-2, 1e-2), Errors(4e-2, 3e-2)),
        (torch.float32, "tf32x3", NO_ERRORS, Errors(float("nan"), 0.0)),
        (torch.bfloat16, "tf32", NO_ERRORS, Errors(0.0, float("nan"))),
    ],
)
def test_the_bound_is_that_of_the_precision(
    dtype: torch.dtype, precision: str, good: Errors, bad: Errors, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = subject(dtype=dtype, choice=SMALL._replace(precision=precision))
    count(monkeypatch, good, bad)
    assert check.self_check(asked) is None
    with pytest.warns(UserWarning, match="differ"):
        assert "differ" in str(check.self_check(asked._replace(axes=3)))


def test_a_failure_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = count(monkeypatch, RuntimeError("no such card"))
    with pytest.warns(UserWarning, match="another kernel runs instead: they do not run on cpu: no such card"):
        assert "no such card" in str(check.self_check(subject()))
    assert "no such card" in str(check.self_check(subject()))
    assert len(asked) == 1


@pytest.mark.parametrize(
    "failure",
    [
        torch.OutOfMemoryError("Tried to allocate 2.00 GiB"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_want_of_memory_is_not_remembered(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = count(monkeypatch, failure, failure, NO_ERRORS)
    for _ in range(2):
        with pytest.warns(UserWarning, match="do not run on cpu"):
            assert check.self_check(subject()) is not None
    assert check.self_check(subject()) is None
    assert len(asked) == 3


def test_nothing_is_checked_while_a_graph_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, capturing = count(monkeypatch, NO_ERRORS), True
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: capturing)
    on_gpu = subject()._replace(device=torch.device("cuda:0"))
    with pytest.warns(UserWarning, match="run the layer once before"):
        assert check.self_check(on_gpu) is not None
    assert asked == []
    capturing = False
    assert check.self_check(on_gpu) is None
    capturing = True
    assert check.self_check(on_gpu) is None
    assert asked == [on_gpu]


@pytest.mark.parametrize("kernel", TRITON_KERNELS, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_checked_is_what_will_run(variant: str, kernel: TritonKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choice, cell, hidden size and weights are those of the problem."""
    asked = subject(variant)
    tensors = draw_tensors(asked, torch.Generator().manual_seed(0))
    problem = make_problem(tensors, None, "ff,rr", asked.cell)
    checked: list[Subject] = []
    monkeypatch.setattr(triton, "self_check", checked.append)
    assert kernel.untrusted(problem) is None
    assert kernel.untrusted(problem, folded=True) is None
    expected = asked._replace(choice=choose(problem, kernel.variant))
    assert checked == [expected, expected._replace(folded=True)]
    assert checked[0] == subject_of(problem, kernel.choice(problem))
