"""Faces may be changed in place, in training too, as the states of :class:`torch.nn.LSTM`. The output is kept for the backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from spatial_lstm import SpatialLSTM, State
from tests.cases import assert_close, faces, gradients, make_input, make_layer

LAYERS: dict[str, dict[str, Any]] = {
    "two axes": {},
    "three": {"spatial_dims": 3},
    "one": {"spatial_dims": 1},
    "layers and directions": {"num_layers": 2, "directions": "all"},
    "channels last": {"channels_last": True},
    "tiles": {"tile": (2, 2)},
    "tiles of directions": {"tile": (2, 2), "directions": "all", "merge": "sum"},
    "plain": {"backend": "plain"},
    "plain, one axis": {"backend": "plain", "spatial_dims": 1},
    "plain, channels last": {"backend": "plain", "channels_last": True},
    "composite": {"backend": "composite"},
    "reference": {"backend": "reference"},
}


@pytest.mark.parametrize("case", LAYERS)
def test_faces(case: str) -> None:
    layer = make_layer("spatial", 3, 4, **LAYERS[case])
    x = make_input(layer)
    inputs = [x, *layer.parameters()]
    found, expected = ([face.clone() if copied else face for face in faces(layer(x)[1])] for copied in (False, True))
    assert_close(*(gradients([face.mul_(0.5) for face in each], inputs) for each in (found, expected)))
    for face in faces(layer(x)[1]):
        assert not face.detach_().requires_grad


def test_faces_of_a_compiled_layer_and_within_one() -> None:
    layer = make_layer("spatial", 3, 4)
    x = make_input(layer)
    inputs = [x, *layer.parameters()]

    def halved(x: Tensor) -> list[Tensor]:
        return [face.mul_(0.5) for face in faces(layer(x)[1])]

    expected = gradients(halved(x), inputs)
    assert_close(gradients(torch.compile(halved, backend="aot_eager")(x), inputs), expected)
    _, far = torch.compile(layer, backend="aot_eager")(x)
    assert_close(gradients([face.mul_(0.5) for face in faces(far)], inputs), expected)


def test_a_face_that_was_computed_without_a_graph() -> None:
    layer, weight = SpatialLSTM(3, 4), torch.ones((), requires_grad=True)
    with torch.no_grad():
        _, far = layer(torch.ones(2, 3, 4, 5))
    for face in faces(far):
        face.mul_(weight)
    (found,) = torch.autograd.grad(faces(far)[0].sum(), weight)
    assert found != 0


def test_a_face_that_is_read_still_is_noticed_and_the_others_are_free() -> None:
    layer = SpatialLSTM(3, 4)
    _, far = layer(torch.ones(2, 3, 4, 5))
    output, _ = layer(torch.ones(2, 3, 4, 5), State((far.h[0], None), (None, None)))
    for face in (far.h[1], *far.c):
        assert face is not None
        face.zero_()
    output.sum().backward()
    layer = SpatialLSTM(3, 4, spatial_dims=1)  # which reads the faces themselves
    _, far = layer(torch.ones(2, 3, 5))
    output, _ = layer(torch.ones(2, 3, 5), far)
    faces(far)[0].zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()
