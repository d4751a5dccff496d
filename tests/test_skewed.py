"""The recurrence without tables against the one with them, and when it runs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.func import jvp, vmap

from spatial_lstm import SpatialLSTM, State
from spatial_lstm.engine import composite, modes, skewed
from spatial_lstm.engine.tensors import Tensors
from tests.cases import EXTENTS, SIZES, VARIANTS, assert_close, faces, gradients, make_input, make_layer, make_state

per_cell = pytest.mark.parametrize("variant", VARIANTS)


def without_tables(tensors: Tensors, sizes: Tensor | None, directions: str, cell: str) -> tuple[Tensor, Tensor, Tensor]:
    return skewed.forward(tensors, sizes, directions, cell, skewed.unrolled)


def scanned(tensors: Tensors, sizes: Tensor | None, directions: str, cell: str) -> tuple[Tensor, Tensor, Tensor]:
    return skewed.forward(tensors, sizes, directions, cell, skewed.scanned)


def outputs(layer: SpatialLSTM, x: Tensor, state: State | None = None, sizes: Tensor | None = None) -> list[Tensor]:
    """Output and far faces."""
    output, far = layer(x, state, sizes=sizes)
    return [output, *faces(far)]


@per_cell
@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("directions", [None, "all"])
@pytest.mark.parametrize("given", [False, True], ids=["plain", "sizes-and-faces"])
def test_equals_the_composite(
    variant: str, n: int, directions: str | None, given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = make_layer(variant, 3, 4, 2, spatial_dims=n, directions=directions, backend="composite")
    x, state = make_input(layer), make_state(layer, 2, EXTENTS[n]) if given else None
    inputs = [x, *([] if state is None else faces(state)), *layer.parameters()]

    def results() -> list[Tensor]:
        found = outputs(layer, x, state, torch.tensor(SIZES[n]) if given else None)
        return [*found, *gradients(found, inputs)]

    expected = results()
    monkeypatch.setattr(composite, "forward", without_tables)
    assert_close(results(), expected)


@per_cell
@pytest.mark.parametrize("extents", [(1, 1), (1, 5), (5, 1), (7, 2), (2, 7)])
def test_extents_and_a_scan(variant: str, extents: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also that torch still has the private operation of the scan."""
    layer = make_layer(variant, directions="all", backend="composite", bias=False)
    x = make_input(layer, 1, extents)
    expected = outputs(layer, x)
    for forward in (without_tables, scanned):
        monkeypatch.setattr(composite, "forward", forward)
        assert_close(outputs(layer, x), expected)


def test_a_scan_refuses_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = make_layer(backend="composite")
    monkeypatch.setattr(composite, "forward", scanned)
    with pytest.raises(RuntimeError, match="no derivative of a layer within an exported ONNX program"):
        layer(make_input(layer))[0].sum().backward()


def test_padding_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = make_layer(directions="all", backend="composite")
    sizes, x = torch.tensor(SIZES[2]), make_input(layer, grad=False)
    expected = layer(x, sizes=sizes)[0]
    for image, (height, width) in zip(x, SIZES[2], strict=True):
        image[:, height:] = torch.nan
        image[:, :, width:] = torch.nan
    monkeypatch.setattr(composite, "forward", without_tables)
    found = layer(x.requires_grad_(), sizes=sizes)[0]
    assert_close([found], [expected])
    assert all(gradient.isfinite().all() for gradient in gradients([found], [x, *layer.parameters()]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = make_layer("graves-peephole", directions="all", backend="composite", scale=0.2).to(dtype)
    x, state = make_input(layer), make_state(layer, 2, EXTENTS[2])
    expected = outputs(layer, x, state)
    monkeypatch.setattr(composite, "forward", without_tables)
    found = outputs(layer, x, state)
    assert [t.dtype for t in found] == [t.dtype for t in expected]
    assert_close(found, expected)


@per_cell
@pytest.mark.support("`FakeTensorMode`")
@pytest.mark.parametrize("backend", ["auto", "composite"])
@pytest.mark.parametrize("ragged", [False, True])
def test_fake_tensors(variant: str, backend: str, ragged: bool) -> None:
    layer = make_layer(variant, 3, 4, 2, directions="all", backend=backend)
    real, sizes = make_input(layer), torch.tensor(SIZES[2]) if ragged else None
    expected = outputs(layer, real, None, sizes)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        x = mode.from_tensor(real)
        found = outputs(layer, x, None, None if sizes is None else mode.from_tensor(sizes))
        assert [t.shape for t in found] == [t.shape for t in expected]
        (gradient,) = torch.autograd.grad(found[0].sum(), x)
        assert gradient.shape == x.shape
    assert_close(outputs(layer, real, None, sizes), expected)


def test_private_names_of_torch_still_tell() -> None:
    """Those of :mod:`spatial_lstm.engine.modes`; should one go, this fails before a user gets silently zero tangents."""
    x = torch.zeros(1)
    assert not modes.forward_mode_active()
    assert not modes.functorch_active()
    assert not modes.onnx_export_active()
    assert not modes.without_values(x)
    with forward_ad.dual_level():
        assert modes.forward_mode_active()
    seen = []
    vmap(lambda x: seen.append(modes.functorch_active()) or x)(x)
    jvp(lambda x: seen.append(modes.forward_mode_active()) or x, (x,), (x,))
    assert seen == [True, True]
    compiled = torch.compile(vmap(lambda x: x + modes.functorch_active()), backend="eager", fullgraph=True)
    assert compiled(x) == 1
    with FakeTensorMode() as mode:
        assert modes.without_values(None, mode.from_tensor(x))
