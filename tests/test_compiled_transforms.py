"""``torch.compile`` together with ``torch.func`` transforms and forward-mode AD: right or refused, never silently zero."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vjp, vmap
from torch.utils._pytree import tree_leaves

from spatial_lstm import SpatialLSTM
from tests.cases import VARIANTS, assert_close, gradients, make_input, make_layer

pytestmark = [  # of torch's own compiler
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
per_cell = pytest.mark.parametrize("variant", VARIANTS)
Case = tuple[Callable[..., Any], tuple[Any, ...]]


@pytest.fixture(autouse=True)
def fresh_compiler() -> None:
    torch._dynamo.reset()


def small(variant: str, axes: int) -> tuple[SpatialLSTM, Tensor]:
    """A layer and an input of few steps: the compiler sees every one of them."""
    layer = make_layer(variant, 2, 3, spatial_dims=axes, directions=("f" * axes, "r" * axes))
    return layer, make_input(layer, 2, (2,) * axes, grad=False)


def transform(name: str, layer: SpatialLSTM, x: Tensor) -> Case:
    """A transform of a layer with what it is called with."""
    n = layer.spatial_dims
    tangent, sizes = torch.randn_like(x), torch.tensor([[2] * n, [1] * n])
    parameters = {name: parameter.detach() for name, parameter in layer.named_parameters()}
    other = copy.deepcopy(layer).apply(SpatialLSTM.reset_parameters)

    def output(x: Tensor, sizes: Tensor | None = None) -> Tensor:
        found: Tensor = layer(x, sizes=sizes)[0]
        return found

    def loss(x: Tensor) -> Tensor:
        return output(x).pow(2).sum()

    def of_parameters(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        found: Tensor = functional_call(layer, parameters, (x,))[0]
        return found

    def dual(x: Tensor, tangent: Tensor) -> Tensor | None:
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(output(forward_ad.make_dual(x, tangent))).tangent

    if name == "ensemble":
        stacked = {key: p.detach() for key, p in stack_module_state([layer, other])[0].items()}  # type: ignore[list-item]
        return lambda p: vmap(lambda p: of_parameters(p, x))(p), (stacked,)
    cases: dict[str, Case] = {
        "jvp": (lambda x, v: jvp(output, (x,), (v,))[1], (x, tangent)),
        "jvp-sizes": (lambda x, v, own: jvp(lambda x: output(x, own), (x,), (v,))[1], (x, tangent, sizes)),
        "dual-numbers": (dual, (x, tangent)),
        "jacfwd": (jacfwd(output), (x[:1],)),
        "grad": (grad(loss), (x,)),
        "vjp": (lambda x: vjp(loss, x)[1](x.new_ones(()))[0], (x,)),
        "jacrev": (jacrev(output), (x[:1],)),
        "hessian": (hessian(loss), (x[:1],)),
        "vmap-grad": (
            lambda p, x: vmap(grad(lambda p, x: of_parameters(p, x).pow(2).sum()), (None, 0))(p, x),
            (parameters, x),
        ),
    }
    return cases[name]


def assert_compiles(name: str, variant: str, axes: int, backend: str) -> None:
    function, arguments = transform(name, *small(variant, axes))
    expected = tree_leaves(function(*arguments))
    assert all(t.abs().max() > 1e-3 for t in expected)
    assert_close(tree_leaves(torch.compile(function, backend=backend, fullgraph=True)(*arguments)), expected)


@pytest.mark.parametrize(
    "name", ["jvp-sizes", "dual-numbers", "jacfwd", "grad", "vjp", "jacrev", "hessian", "vmap-grad", "ensemble"]
)
def test_transforms(name: str) -> None:
    assert_compiles(name, "spatial", 2, "aot_eager")


@per_cell
@pytest.mark.support("`torch.compile` of `torch.func` transforms")
@pytest.mark.parametrize("name", ["jvp-sizes", "vmap-grad"])
def test_every_cell(name: str, variant: str) -> None:
    assert_compiles(name, variant, 2, "eager")


@pytest.mark.parametrize("name", ["jvp", "vmap-grad"])
def test_inductor(name: str) -> None:
    """Which compiles ``vmap`` of ``index_select``'s derivative to a wrong result, without a word."""
    assert_compiles(name, "spatial", 1, "inductor")


def test_three_axes() -> None:
    assert_compiles("jvp-sizes", "stable", 3, "eager")


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_transforms_of_a_compiled_layer(backend: str) -> None:
    """And that a program compiled without a transform does not run under one, or the other way round."""
    layer, x = small("spatial", 2)
    tangent, results = torch.randn_like(x), []
    for call in (torch.compile(layer, backend=backend), layer):
        found = [call(x)[0], jvp(lambda x, call=call: call(x)[0], (x,), (tangent,))[1], call(x)[0]]
        if backend != "eager":  # which dynamo cannot do under `grad`
            found.append(grad(lambda x, call=call: call(x)[0].pow(2).sum())(x))
        results.append(found)
    assert_close(*results)


@per_cell
@pytest.mark.support("`torch.compile(fullgraph=True)` of the composite")
def test_the_composite_compiles(variant: str) -> None:
    layer = make_layer(variant, 2, 3, directions=("fr", "rr"), backend="composite")
    x, sizes = make_input(layer, 2, (2, 3)), torch.tensor([[2, 1], [1, 3]])
    inputs = [x, *layer.parameters()]
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    results = [
        [output, *gradients([output], inputs)] for output in (call(x, sizes=sizes)[0] for call in (compiled, layer))
    ]
    assert_close(*results)


def test_a_pinned_kernel_is_refused() -> None:
    layer, x = small("spatial", 2)
    layer.backend = "plain"
    compiled = torch.compile(grad(lambda x: layer(x)[0].sum()), backend="eager", fullgraph=True)
    with pytest.raises(torch._dynamo.exc.Unsupported, match="expected backend 'auto' or 'composite' .*, got 'plain'"):
        compiled(x)


def test_forward_mode_of_an_exported_layer_is_refused() -> None:
    """The operator in it has no tangents; of frozen parameters autograd would not even say so."""
    layer, x = small("spatial", 2)
    exported = torch.export.export(layer.requires_grad_(False), (x,)).module()
    with pytest.raises(RuntimeError, match="no forward-mode derivative of a layer that was exported"):
        jvp(lambda x: exported(x)[0], (x,), (x,))
    with forward_ad.dual_level(), pytest.raises(RuntimeError, match="no forward-mode derivative of a layer"):
        exported(forward_ad.make_dual(x, x))
