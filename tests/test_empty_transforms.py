"""Transforms over nothing give nothing, of the right shape."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.func import functional_call, grad, jvp, vmap

from spatial_lstm import SpatialLSTM, SpatialLSTMCell, State
from tests.cases import SIZES, VARIANTS, make_input, make_layer, make_state

EXTENTS = {1: (5,), 2: (4, 3), 3: (3, 1, 2)}


@pytest.mark.parametrize("n", EXTENTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_transforms_over_nothing(variant: str, n: int) -> None:
    """As convolutions and linear maps, layers make nothing of nothing."""
    layer = make_layer(variant, 3, 4, spatial_dims=n, directions="all")
    x = torch.zeros(0, 2, 3, *EXTENTS[n], dtype=torch.float64)
    parameters = dict(layer.named_parameters())
    for sizes in (None, SIZES[n]):

        def output(x: torch.Tensor, sizes: Any = sizes) -> torch.Tensor:
            return layer(x, sizes=sizes)[0]

        def loss(parameters: Any, x: torch.Tensor, sizes: Any = sizes) -> torch.Tensor:
            return functional_call(layer, parameters, (x,), {"sizes": sizes})[0].sum()

        assert vmap(output)(x).shape == (0, 2, 4 * 2**n, *EXTENTS[n])
        assert vmap(grad(lambda x: output(x).sum()))(x).shape == x.shape
        assert vmap(lambda x: jvp(output, (x,), (x,))[1])(x).shape == (0, 2, 4 * 2**n, *EXTENTS[n])
        found = vmap(grad(loss), (None, 0))(parameters, x)
        assert all(found[name].shape == (0, *weight.shape) for name, weight in parameters.items())
    cell = SpatialLSTMCell(3, 4, spatial_dims=n, **VARIANTS[variant])
    assert vmap(lambda x: cell(x)[0])(torch.zeros(0, 2, 3)).shape == (0, 2, 4)


def test_faces_and_gradients_of_which_there_are_none() -> None:
    layer = make_layer("spatial", 3, 4)
    x, near = make_input(layer), make_state(layer, 2, (4, 3), grad=False)
    none = State(*(tuple(face.new_zeros(0, *face.shape) for face in group if face is not None) for group in near))
    assert vmap(lambda state: layer(x, state)[0])(none).shape == (0, 2, 4, 4, 3)
    output = layer(x)[0]
    found = vmap(lambda v: torch.autograd.grad(output, x, v))(output.new_zeros(0, *output.shape))
    assert found[0].shape == (0, *x.shape)


def test_an_exported_program_over_nothing() -> None:
    layer = SpatialLSTM(3, 4)
    program = torch.export.export(layer, (torch.zeros(2, 3, 4, 5),)).module()
    assert vmap(lambda x: program(x)[0])(torch.zeros(0, 2, 3, 4, 5)).shape == (0, 2, 4, 4, 5)
