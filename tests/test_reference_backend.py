"""What NumPy cannot follow is refused in words, never answered with a derivative or a program that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad, functional, grad
from torch.func import jvp, vmap

from spatial_lstm import OutputOnly, SpatialLSTM
from tests.cases import assert_close, make_input, make_layer


def dual(layer: SpatialLSTM, x: Tensor) -> Any:
    with forward_ad.dual_level():
        return layer(forward_ad.make_dual(x, x))


def fake(layer: SpatialLSTM, x: Tensor) -> Any:
    with FakeTensorMode(allow_non_fake_inputs=True):
        return SpatialLSTM(3, 4, backend="reference")(torch.zeros(x.shape))


def penalty(layer: SpatialLSTM, x: Tensor) -> None:
    """Added to another loss, so that a derivative of zero would go unnoticed."""
    loss = layer(x)[0].sum()
    (slope,) = grad(loss, x, create_graph=True)
    (loss + slope.square().sum()).backward()


def batched(layer: SpatialLSTM, x: Tensor) -> Any:
    output = layer(x)[0]
    return grad(output, x, output.new_ones(2, *output.shape), is_grads_batched=True)


def mapped(layer: SpatialLSTM, x: Tensor) -> Any:
    output = layer(x)[0]
    return vmap(lambda v: grad(output, x, v))(output.new_ones(2, *output.shape))


TRANSFORMS = (
    "expected backend 'auto' or 'composite' under forward-mode AD, torch.func transforms and .*, got 'reference'"
)
VALUES = "expected another backend than 'reference', such as 'auto', for tensors without values"
HIGHER = "expected backend 'auto' or 'composite' for derivatives of second order, got 'reference'"
CALLS: dict[str, tuple[Callable[[SpatialLSTM, Tensor], Any], str]] = {
    "vmap": (lambda layer, x: vmap(layer)(x[None]), TRANSFORMS),
    "func-grad": (lambda layer, x: torch.func.grad(lambda x: layer(x)[0].sum())(x), TRANSFORMS),
    "jvp": (lambda layer, x: jvp(lambda x: layer(x)[0], (x,), (x,)), TRANSFORMS),
    "dual": (dual, TRANSFORMS),
    "batched": (batched, TRANSFORMS),
    "vmap-of-backward": (mapped, TRANSFORMS),
    "export": (lambda layer, x: torch.export.export(layer, (x,)), VALUES),
    "trace": (lambda layer, x: torch.jit.trace(OutputOnly(layer), x), VALUES),
    "meta": (lambda layer, x: layer.to("meta")(x.to("meta")), VALUES),
    "fake": (fake, VALUES),
    "penalty": (penalty, HIGHER),
    "hessian": (lambda layer, x: functional.hessian(lambda x: layer(x)[0].sum(), x), HIGHER),
}


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning", "ignore:Converting a tensor to a Python boolean")
@pytest.mark.parametrize("name", CALLS)
def test_refused(name: str) -> None:
    layer = make_layer("spatial", 3, 4, backend="reference")
    call, words = CALLS[name]
    with pytest.raises(ValueError, match=words):
        call(layer, make_input(layer))


def test_first_derivatives_that_could_be_differentiated_are_there() -> None:
    layer = make_layer("graves-peephole", 3, 4, directions="all", backend="reference")
    x, results = make_input(layer), []
    for backend in ("reference", "composite"):
        layer.backend = backend
        inputs = [x, *layer.parameters()]
        results.append(list(grad(layer(x)[0].square().sum(), inputs, create_graph=True)))
    assert_close(*results)
