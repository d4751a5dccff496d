"""Every backend against the NumPy reference, behind the layer's own interface: outputs, far faces, all gradients."""

from __future__ import annotations

import itertools

import pytest
import torch

import spatial_lstm
from spatial_lstm.engine.kernels import KERNELS
from tests.cases import (
    EXTENTS,
    SIZES,
    VARIANTS,
    assert_close,
    faces,
    gradients,
    knows,
    make_input,
    make_layer,
    make_state,
)

BACKENDS = [
    name for name, found in spatial_lstm.backends().items() if found.startswith("available") and name != "reference"
]
SHAPES = {1: [(5,), (1,)], 2: [(4, 3), (1, 6), (5, 1), (1, 1)], 3: [(3, 1, 2), (2, 3, 4), (1, 1, 1)], 4: [(2, 1, 3, 2)]}


def run(
    backend: str, variant: str, n: int, ragged: bool, recompute: bool, dtype: torch.dtype
) -> list[list[torch.Tensor]]:
    results = []
    for extents in SHAPES[n] if not ragged else [EXTENTS[n]]:
        torch.manual_seed(0)
        directions = "all" if n < 4 else ("ffff", "rfrf", "rrrr")
        layer = make_layer(variant, 3, 4, 2, spatial_dims=n, directions=directions, recompute=recompute)
        x, near = make_input(layer, 2, extents), make_state(layer, 2, extents)
        inputs = [t.detach().to(dtype).requires_grad_() for t in (x, *faces(near))]
        layer.to(dtype).backend = backend
        state = spatial_lstm.State(tuple(inputs[1 : n + 1]), tuple(inputs[n + 1 :]))
        output, far = layer(inputs[0], state, sizes=torch.tensor(SIZES[n]) if ragged else None)
        outputs = [output, *faces(far)]
        results.append([*outputs, *gradients(outputs, [*inputs, *layer.parameters()])])
    return results


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("ragged", [False, True], ids=["whole", "sizes"])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_the_reference(variant: str, n: int, ragged: bool, dtype: torch.dtype) -> None:
    expected = run("reference", variant, n, ragged, False, torch.float64)
    for backend, recompute in itertools.product([b for b in BACKENDS if knows(b, variant)], [False, True]):
        for found, exact in zip(run(backend, variant, n, ragged, recompute, dtype), expected, strict=True):
            assert_close(found, exact)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name in KERNELS])
def test_unused_outputs_and_expanded_gradients(backend: str) -> None:
    """Any subset of the outputs may be used; a sum's gradient comes with strides of zero."""
    layer, twin = make_layer("spatial", 3, 4, directions="all"), make_layer("spatial", 3, 4, directions="all")
    layer.backend, twin.backend = backend, "composite"
    twin.load_state_dict(layer.state_dict())
    x = make_input(layer)
    for pick in range(5):
        found, expected = (
            torch.autograd.grad(
                [output, *faces(far)][pick].sum(), [x, *model.parameters()], allow_unused=True, materialize_grads=True
            )
            for model in (layer, twin)
            for output, far in [model(x)]
        )
        assert_close(found, expected)


def test_backends_says_what_is_there() -> None:
    found = spatial_lstm.backends()
    assert {"plain", "composite", "reference"} <= set(found)
    assert all(text.startswith(("available", "unavailable: ")) for text in found.values())


def test_pinned_kernel_refuses_transforms() -> None:
    layer = make_layer("spatial", 3, 4, backend="plain")
    with pytest.raises(ValueError, match="expected backend 'auto' or 'composite' under forward-mode AD"):
        torch.func.vmap(lambda x: layer(x)[0])(torch.randn(2, 1, 3, 4, 4, dtype=torch.float64))
