"""A program's own default device moves nothing of a layer's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from spatial_lstm.engine import clear_cache
from spatial_lstm.equality import TOLERANCE, compare
from tests.cases import SIZES, faces, make_input, make_layer, make_state


@pytest.mark.parametrize(
    "options", [{"tile": (2, 2)}, *({"backend": name} for name in ("auto", "plain", "composite", "reference"))], ids=str
)
def test_another_default_device(options: dict[str, Any]) -> None:
    """The meta device stands for a GPU: whatever is put there by mistake does not go with what is on the CPU."""
    layer = make_layer("spatial", 3, 4, 2, directions="all", **options)
    inputs, near = [make_input(layer), *layer.parameters()], make_state(layer, 2, (4, 3))
    results = []
    for device in ("cpu", "meta"):
        clear_cache()
        with torch.device(device):
            output, far = layer(inputs[0], near, sizes=SIZES[2])
            found = torch.autograd.grad(output.sum() + sum(face.sum() for face in faces(far)), inputs)
        results.append([output, *faces(far), *found])
    assert all(map(torch.equal, *results))


def test_backends_are_compared_under_another_default_device() -> None:
    with torch.device("meta"):
        found = [each for group in compare(["cpu"], variants=["spatial"], axes=[2]) for each in group]
    assert found
    assert all(each.error <= TOLERANCE[each.dtype] for each in found)
