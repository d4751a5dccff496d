"""Derivatives of every order and kind, for every cell."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import functional_call, grad, hessian, jacrev, jvp, stack_module_state, vmap

from spatial_lstm import SpatialLSTM, State
from spatial_lstm.engine import modes
from tests.cases import SIZES, VARIANTS, assert_close, faces, gradients, make_input, make_layer, make_state

pytestmark = pytest.mark.parametrize("variant", VARIANTS)


def as_function(layer: SpatialLSTM, n: int, sizes: Tensor | None = None) -> Callable[..., tuple[Tensor, ...]]:
    """The layer as a function of its input, faces and parameters, in that order."""
    names = [name for name, _ in layer.named_parameters()]

    def call(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        state = State(tuple(rest[:n]), tuple(rest[n : 2 * n]))
        parameters = dict(zip(names, rest[2 * n :], strict=True))
        output, far = functional_call(layer, parameters, (x, state), {"sizes": sizes})
        return output, *faces(far)

    return call


def arguments(layer: SpatialLSTM, extents: tuple[int, ...], batch: int = 2) -> list[Tensor]:
    return [make_input(layer, batch, extents), *faces(make_state(layer, batch, extents)), *layer.parameters()]


@pytest.mark.support("`gradcheck` in input, faces and parameters")
@pytest.mark.parametrize("recompute", [False, True], ids=["saved", "recomputed"])
def test_gradcheck(variant: str, recompute: bool) -> None:
    layer = make_layer(variant, 2, 2, 2, directions=("fr", "rr"), recompute=recompute)
    sizes = torch.tensor([[2, 3], [1, 2]])
    assert gradcheck(as_function(layer, 2, sizes), arguments(layer, (2, 3)), fast_mode=True)
    assert gradcheck(as_function(layer, 2), arguments(layer, (1, 2), 1))


@pytest.mark.support("`gradgradcheck`: double backward")
def test_gradgradcheck(variant: str) -> None:
    layer = make_layer(variant, 2, 2, 2, directions=("ff", "rf"))
    assert gradgradcheck(
        as_function(layer, 2, torch.tensor([[2, 2], [1, 2]])), arguments(layer, (2, 2)), fast_mode=True
    )


@pytest.mark.support("Third order")
@pytest.mark.parametrize("n", [1, 2, 3])
def test_third_order(variant: str, n: int) -> None:
    layer = make_layer(variant, 2, 2, spatial_dims=n, directions="all" if n < 3 else None)
    x = make_input(layer, 1)
    inputs = [x, *layer.parameters()]
    results = []
    for backend in ("plain", "composite"):
        layer.backend = backend
        first = torch.autograd.grad(layer(x)[0].pow(2).sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.pow(2).sum() for g in first), inputs, create_graph=True)
        results.append(torch.autograd.grad(sum(g.pow(2).sum() for g in second), inputs))
    assert results[0][0].abs().max() > 0
    assert_close(*results)


@pytest.mark.support("Forward-mode AD: `jvp`, dual numbers")
def test_forward_mode(variant: str) -> None:
    layer = make_layer(variant, 2, 3, 2, directions="all")
    function = as_function(layer, 2)
    primals = tuple(t.detach() for t in arguments(layer, (3, 2)))
    tangents = tuple(torch.randn_like(t) for t in primals)
    _, found = jvp(function, primals, tangents)
    with forward_ad.dual_level():
        duals = function(*(forward_ad.make_dual(p, t) for p, t in zip(primals, tangents, strict=True)))
        again = [forward_ad.unpack_dual(dual).tangent for dual in duals]
    leaves = [p.requires_grad_() for p in primals]
    outputs = function(*leaves)
    cotangents = [torch.randn_like(output) for output in outputs]
    pulled = torch.autograd.grad(outputs, leaves, cotangents)
    forwards = sum((f * c).sum() for f, c in zip(found, cotangents, strict=True))
    backwards = sum((p * t).sum() for p, t in zip(pulled, tangents, strict=True))
    assert isinstance(forwards, Tensor)
    assert isinstance(backwards, Tensor)
    assert_close([forwards, *again], [backwards, *found])


@pytest.mark.support("`vmap` over an ensemble (`stack_module_state`)")
def test_ensemble(variant: str) -> None:
    models = [make_layer(variant, 2, 3, 2, directions="all") for _ in range(3)]
    parameters, _ = stack_module_state(models)  # type: ignore[arg-type]
    x, sizes = make_input(models[0], grad=False), torch.tensor(SIZES[2])
    found = vmap(lambda p: functional_call(models[0], p, (x,), {"sizes": sizes})[0])(parameters)
    assert_close(list(found), [model(x, sizes=sizes)[0] for model in models])


@pytest.mark.support("Per-sample gradients: `vmap(grad)`")
def test_per_sample_gradients(variant: str) -> None:
    layer = make_layer(variant, 2, 3, 2, directions="all")
    x, parameters = make_input(layer, 3, grad=False), dict(layer.named_parameters())

    def loss(parameters: dict[str, Tensor], image: Tensor) -> Tensor:
        output: Tensor = functional_call(layer, parameters, (image,))[0]
        return output.pow(2).sum()

    found = vmap(grad(loss), (None, 0))(parameters, x)
    for k in range(3):
        expected = torch.autograd.grad(loss(parameters, x[k]), list(parameters.values()))
        assert_close([found[name][k] for name in parameters], expected)


@pytest.mark.support("`jacrev`, `hessian`")
def test_jacobian_and_hessian(variant: str) -> None:
    layer = make_layer(variant, 2, 2)
    x = make_input(layer, 1, (2, 2), grad=False)
    jacobian = jacrev(lambda x: layer(x)[0])(x)
    expected = torch.autograd.functional.jacobian(lambda x: layer(x)[0], x)
    assert_close([jacobian], [expected])
    found = hessian(lambda x: layer(x)[0].pow(2).sum())(x)
    expected = torch.autograd.functional.hessian(lambda x: layer(x)[0].pow(2).sum(), x)
    assert_close([found], [expected])


def test_private_names_of_torch_still_tell(variant: str) -> None:
    """The two that the router reads; should they go, this fails before a user gets silently zero tangents."""
    assert not modes.forward_mode_active()
    assert not modes.functorch_active()
    with forward_ad.dual_level():
        assert modes.forward_mode_active()
    seen = []
    vmap(lambda x: seen.append(modes.functorch_active()) or x)(torch.zeros(1))
    jvp(lambda x: seen.append(modes.forward_mode_active()) or x, (torch.zeros(1),), (torch.ones(1),))
    assert seen == [True, True]


@pytest.mark.support("Checkpointing: `torch.utils.checkpoint`")
def test_checkpoint(variant: str) -> None:
    layer = make_layer(variant, 2, 3, 2, directions="all")
    x = make_input(layer)
    inputs = [x, *layer.parameters()]
    expected = gradients([layer(x)[0]], inputs)
    output = torch.utils.checkpoint.checkpoint(lambda x: layer(x)[0], x, use_reentrant=False)
    assert_close(gradients([output], inputs), expected)
