"""What ``torch.jit.trace`` makes of a layer."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spatial_lstm import OutputOnly, SpatialLSTM, State
from tests.cases import VARIANTS, assert_close, faces, gradients, make_input, make_layer, make_state

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Converting a tensor to a Python boolean"),  # of shapes that are checked
]
per_cell = pytest.mark.parametrize("variant", VARIANTS)


class WithSizes(nn.Module):
    """A layer as traces take it: of tensors alone."""

    def __init__(self, layer: SpatialLSTM) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, sizes: Tensor, face: Tensor) -> tuple[Tensor, ...]:
        output, far = self.layer(x, State((face, None), (None, None)), sizes=sizes)
        return output, *faces(far)


def again(traced: Any) -> Any:
    """The program saved and loaded."""
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    return torch.jit.load(file)


@per_cell
@pytest.mark.support("`torch.jit.trace`")
@pytest.mark.parametrize(
    "options",
    [{}, {"recompute": True}, {"tile": (2, 2)}, {"backend": "composite"}, {"directions": "all", "num_layers": 2}],
    ids=lambda options: "-".join(options) or "plain",
)
def test_trace(variant: str, options: dict[str, Any]) -> None:
    layer = make_layer(variant, 3, 4, **options)
    model, x = OutputOnly(layer), make_input(layer)
    traced = torch.jit.trace(model, x)
    for program in (traced, again(traced)):
        results = []
        for call in (program, model):
            output = call(x)
            results.append([output, *gradients([output], [x, *call.parameters()])])
        assert_close(*results)
        with torch.no_grad():
            assert_close([program(x)], [model(x)])


def test_a_trace_holds_for_other_sizes_and_for_training_later() -> None:
    model = WithSizes(make_layer("spatial", 3, 4))
    x, face = make_input(model.layer), make_state(model.layer, 2, (4, 3)).h[0]
    with torch.no_grad():
        traced = torch.jit.trace(model, (x, torch.tensor([[4, 3], [2, 2]]), face))
    for sizes in ([[4, 3], [2, 2]], [[1, 3], [4, 1]]):
        results = []
        for call in (traced, model):
            outputs = list(call(x, torch.tensor(sizes), face))
            results.append([*outputs, *gradients(outputs, [x, face, *call.parameters()])])
        assert_close(*results)
    with pytest.raises(RuntimeError, match="expected sizes from 1 to the batch's extents"):
        traced(x, torch.tensor([[5, 3], [2, 2]]), face)


def test_a_trace_holds_for_other_grids() -> None:
    for options in ({}, {"tile": (2, 2)}):
        model = OutputOnly(make_layer("spatial", 3, 4, **options))
        traced, x = torch.jit.trace(model, make_input(model.layer)), make_input(model.layer, 3, (7, 5))
        assert_close([traced(x)], [model(x)])


def test_a_trace_of_a_frozen_layer_behind_one_that_learns() -> None:
    layer = SpatialLSTM(3, 4).requires_grad_(False)
    model, x = nn.Sequential(nn.Conv2d(3, 3, 1), OutputOnly(layer)), torch.randn(2, 3, 4, 5)
    traced = torch.jit.trace(model, x)
    results = [gradients([call(x)], list(call[0].parameters())) for call in (model,)]
    results.append(gradients([traced(x)], [p for p in traced.parameters() if p.requires_grad]))
    assert_close(*results)


def test_nothing_is_kept_where_a_trace_runs_without_gradients() -> None:
    model, x = OutputOnly(SpatialLSTM(3, 4)), torch.randn(2, 3, 4, 5)
    traced, kept = torch.jit.trace(model, x), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):  # type: ignore[func-returns-value]
        with torch.no_grad():
            traced(x)
        assert kept == []
        traced(x)
        assert kept
