"""Axes of extent 1: nothing comes along them, and what is left out of the computation shows nowhere."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from spatial_lstm import SpatialLSTM, State
from spatial_lstm.engine.problem import Problem, make_problem
from spatial_lstm.engine.tensors import Tensors
from spatial_lstm.equality import VARIANTS
from tests.cases import assert_close, faces, gradients, make_input, make_layer, make_state

BACKENDS = ("cpp", "plain", "composite")
# Every axis of one to four is of extent 1 in some, alone and beside others.
SHAPES = [shape for n in (1, 2, 3) for shape in itertools.product((1, 3), repeat=n) if 1 in shape]
SHAPES += [(1, 2, 1, 3), (2, 1, 3, 1), (1, 1, 1, 2), (1, 2, 2, 2), (1, 1, 1, 1)]
# What each image has of a padded batch.
SIZES = {(1, 3): [[1, 3], [1, 2]], (3, 1): [[2, 1], [3, 1]], (1, 3, 1): [[1, 2, 1], [1, 3, 1]]}


def results(
    layer: SpatialLSTM, backend: str, x: Tensor, state: State | None = None, sizes: object = None
) -> list[Tensor]:
    """Output, far faces and the gradients of all that they come from."""
    layer.backend = backend
    output, far = layer(x, state, sizes=sizes)
    found = [output, *faces(far)]
    return [*found, *gradients(found, [x, *layer.parameters(), *([] if state is None else given(state))])]


def given(state: State) -> list[Tensor]:
    """The faces that are there."""
    return [face for group in state for face in group if face is not None]


def problem(variant: str, shape: tuple[int, ...]) -> Problem:
    """What a kernel is given of a layer without a state."""
    layer = make_layer(variant, spatial_dims=len(shape), channels_last=True)
    names = {name.removesuffix("_l0"): weight for name, weight in layer.named_parameters()}
    return make_problem(Tensors(make_input(layer, extents=shape), **names), None, layer.directions[0], layer.cell_type)


@pytest.mark.parametrize(
    ("variant", "shape", "axes", "blocks"),
    [
        ("spatial", (1, 3), 1, 4),
        ("spatial-extended", (3, 1, 2), 2, 5),
        ("graves-peephole", (1, 3, 1), 1, 4),
        ("graves", (1, 1), 1, 4),
        ("spatial", (1,), 1, 4),
        ("spatial", (2, 3), 2, 5),
        ("diagonal", (1, 3), 1, 4),
        ("diagonal", (3, 1), 2, 4),
        ("stable", (1, 3), 2, 5),
    ],
)
def test_a_kernel_is_given_what_plays_a_part(variant: str, shape: tuple[int, ...], axes: int, blocks: int) -> None:
    found = problem(variant, shape)
    assert (found.axes, found.blocks, found.hidden) == (axes, blocks, 4)
    tensors = found.lean().tensors
    assert tensors.weight_hh.shape == (1, blocks * 4, axes * 4)
    assert tensors.weight_ih.shape == (1, blocks * 4, 3)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_equals_the_reference(variant: str, shape: tuple[int, ...]) -> None:
    layer = make_layer(variant, spatial_dims=len(shape), directions="all" if len(shape) < 3 else "frrf"[: len(shape)])
    x = make_input(layer, extents=shape)
    expected = results(layer, "reference", x)
    for backend in BACKENDS:
        assert_close(results(layer, backend, x), expected)


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("variant", ["spatial", "graves-peephole", "diagonal"])
def test_a_padded_batch_equals_the_reference(variant: str, shape: tuple[int, ...]) -> None:
    layer = make_layer(variant, spatial_dims=len(shape), directions=["f" * len(shape), "r" * len(shape)])
    x = make_input(layer, extents=shape)
    expected = results(layer, "reference", x, sizes=SIZES[shape])
    for backend in BACKENDS:
        assert_close(results(layer, backend, x, sizes=SIZES[shape]), expected)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_state_comes_along_any_axis(backend: str, axis: int) -> None:
    layer = make_layer("spatial-extended", directions="all")
    x = make_input(layer, extents=(1, 3))
    state = make_state(layer, 2, (1, 3)).along(axis)
    assert_close(results(layer, backend, x, state), results(layer, "reference", x, state))


@pytest.mark.parametrize("options", [{"recompute": True}, {"num_layers": 2}, {"tile": (1, 2)}], ids=str)
@pytest.mark.parametrize("shape", [(1, 3), (3, 1)], ids=str)
def test_so_do_layers_with_options(shape: tuple[int, ...], options: dict[str, object]) -> None:
    layer = make_layer("spatial", directions=["fr"], **options)
    x = make_input(layer, extents=shape)
    found = results(layer, "cpp", x)
    layer.tile = None
    assert_close(found, results(layer, "reference", x))


def test_what_plays_no_part_has_a_gradient_of_zero() -> None:
    layer = make_layer()
    output, state = layer(make_input(layer, extents=(1, 3)))
    torch.autograd.backward([output.sum(), *[face.sum() for face in given(state)]])
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert not parameter.grad[4:8].any()  # the forget gate of axis 0
        assert parameter.grad[8:12].any()
    assert layer.weight_hh_l0.grad is not None
    assert not layer.weight_hh_l0.grad[:, :4].any()


@pytest.mark.parametrize("recompute", [False, True])
def test_second_derivatives(recompute: bool) -> None:
    layer = make_layer("graves-peephole", 1, 2, recompute=recompute)
    x = make_input(layer, 1, (1, 2))
    assert torch.autograd.gradgradcheck(lambda x, *_: layer(x)[0], (x, *layer.parameters()))


def test_the_operator_returns_tables_of_the_sizes_that_it_says() -> None:
    """In compiled programs, which know sizes of all axes alone."""
    shapes = (2, 1, 3, 3), (1, 20, 3), (1, 20, 8)
    tensors = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    for keep in ("states", "gates"):
        args = (tensors, "x,weight_ih,weight_hh", None, "ff", "spatial", "plain", keep, 6, 8)
        torch.library.opcheck(torch.ops.spatial_lstm.forward.default, args)
