"""The operator pair: its registration, memory modes, derivatives asked for, repeatability."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.library import opcheck
from torch.utils._python_dispatch import TorchDispatchMode

from spatial_lstm import SpatialLSTM
from spatial_lstm.engine import layout
from spatial_lstm.engine.kernels.plain import PlainKernel
from tests.cases import SIZES, VARIANTS, assert_close, faces, gradients, make_input, make_layer, make_state

NAMES = "forward", "backward", "tiled_forward", "tiled_backward"


class Record(TorchDispatchMode):
    """Arguments and results of every call of one of our operators."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, list[tuple[Any, ...]]] = {name: [] for name in NAMES}
        self.results: dict[str, list[Any]] = {name: [] for name in NAMES}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.namespace == "spatial_lstm":
            name = func._schema.name.split("::")[1]
            self.calls[name].append(args)
            self.results[name].append(result)
        return result


def step(layer: SpatialLSTM, x: Tensor, **options: Any) -> Record:
    with Record() as record:
        output, far = layer(x, **options)
        (output.sum() + sum(face.sum() for face in faces(far))).backward()
    return record


@pytest.mark.support("`torch.library.opcheck`")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("ragged", [False, True])
def test_opcheck(variant: str, ragged: bool) -> None:
    layer = make_layer(variant, 3, 4, directions=("ff", "rf"))
    x = make_input(layer)
    options: dict[str, Any] = {"sizes": torch.tensor(SIZES[2])} if ragged else {}
    record = step(layer, x, state=make_state(layer, 2, (4, 3)), **options)
    for name in ("forward", "backward"):
        args = tuple(leaf(arg) for arg in record.calls[name][0])
        checks = ["test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"]
        if ragged and name == "backward":
            checks.pop()  # second derivatives unroll the plan, which cannot be traced before sizes have values
        opcheck(getattr(torch.ops.spatial_lstm, name).default, args, test_utils=checks)


def leaf(arg: Any) -> Any:
    if isinstance(arg, list):
        return [leaf(each) for each in arg]
    return arg.detach().clone().requires_grad_(arg.is_floating_point()) if isinstance(arg, Tensor) else arg


def test_one_call_per_layer_whatever_the_size() -> None:
    layer = make_layer("spatial", 3, 4, 2, directions="all")
    record = step(layer, make_input(layer, 2, (9, 7)))
    assert {name: len(calls) for name, calls in record.calls.items() if calls} == {"forward": 2, "backward": 2}


@pytest.mark.support("Frozen parameters: nothing computed in vain")
def test_nothing_is_computed_in_vain() -> None:
    layer = make_layer("graves-peephole", 3, 4, directions="all")
    x = make_input(layer, grad=False)
    layer.weight_hh_l0.requires_grad_(False)  # of four directions: the stacked weight is still wanted
    record = step(layer, x)
    assert record.calls["backward"][0][-1] == "weight_ih,weight_hh,bias,weight_peephole"
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
        parameter.grad = None
    layer.bias_l0.requires_grad_()
    record = step(layer, x)
    assert record.calls["backward"][0][-1] == "bias"
    assert [result.shape for result in record.results["backward"][0]] == [(4, 5 * 4)]
    assert layer.weight_ih_l0.grad is None


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("backend", ["auto", "plain"])
def test_tables_are_kept_only_where_needed(grad: bool, recompute: bool, backend: str) -> None:
    layer = make_layer("spatial", 3, 4, recompute=recompute, backend=backend)
    with torch.set_grad_enabled(grad), Record() as record:
        layer(make_input(layer))
    *_, c, gates = record.results["forward"][0]
    assert (c.numel() > 0) == grad
    assert (gates.numel() > 0) == (grad and not recompute)


def test_no_site_of_padding_is_held() -> None:
    layer = make_layer("spatial", 3, 4)
    with Record() as record:
        layer(make_input(layer, 2, (4, 3)), sizes=torch.tensor(SIZES[2]))
    *_, c, gates = record.results["forward"][0]
    assert gates.shape[1] == 4 + 6
    assert c.shape[1] == 4 + 6 + (4 + 1) + (2 + 3)


@pytest.mark.support("`torch.use_deterministic_algorithms(True)`, bitwise repeatable")
@pytest.mark.parametrize("backend", ["plain", "composite"])
def test_bitwise_repeatable(backend: str) -> None:
    layer = make_layer("spatial", 3, 16, 2, directions="all", backend=backend, dtype=torch.float32)
    x = make_input(layer, 3, (9, 11))
    first, second = (gradients([layer(x)[0]], [x, *layer.parameters()]) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.support("`torch.use_deterministic_algorithms(True)`, bitwise repeatable")
def test_deterministic_algorithms() -> None:
    layer = make_layer("graves-peephole", 3, 4, 2, directions="all")
    x, near = make_input(layer), make_state(layer, 2, (4, 3))
    assert torch.are_deterministic_algorithms_enabled()  # as all tests run
    gradients([layer(x, near)[0]], [x, *faces(near), *layer.parameters()])


def test_threads_do_not_change_the_result() -> None:
    """To rounding: the matrix products' own blocking may depend on the number of threads."""
    layer = make_layer("spatial", 3, 32, directions="all")
    x = make_input(layer, 4, (16, 12))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            output = layer(x)[0]
            results.append([output, *gradients([output], [x, *layer.parameters()])])
    finally:
        torch.set_num_threads(before)
    assert_close(*results)


def test_gradients_through_saved_tensors_survive_a_second_backward() -> None:
    layer = make_layer("spatial", 3, 4)
    x = make_input(layer)
    loss = layer(x)[0].pow(2).sum()
    first = torch.autograd.grad(loss, [x], retain_graph=True)
    second = torch.autograd.grad(loss, [x])
    assert torch.equal(first[0], second[0])


@pytest.mark.parametrize("extents", [(4,), (2, 3), (2, 3, 4)], ids=str)
def test_faces_are_one_view_each(extents: tuple[int, ...]) -> None:
    shapes = layout.face_shapes(2, extents, 5)
    rows = torch.randn(3, sum(shape.numel() // 5 for shape in map(torch.Size, shapes)), 5)
    for found, each in zip(layout.strided_faces(rows, -rows, 2, extents), (rows, -rows), strict=True):
        expected = layout.unflatten_faces(each, shapes)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("backend", ["auto", "plain", "composite"])
def test_batched_gradients_of_far_faces(backend: str) -> None:
    layer = make_layer("stable", 3, 4, backend=backend)
    x = make_input(layer)
    output, far = layer(x)
    results, inputs = [output, *faces(far)], [x, *layer.parameters()]
    pulled = [torch.randn(2, *result.shape, dtype=result.dtype) for result in results]
    found = torch.autograd.grad(results, inputs, pulled, is_grads_batched=True, retain_graph=True)
    for i in range(2):
        expected = torch.autograd.grad(results, inputs, [each[i] for each in pulled], retain_graph=True)
        assert_close([grad[i] for grad in found], expected)


def test_writing_into_the_output_is_noticed() -> None:
    layer = make_layer("spatial", 3, 4)
    output, _ = layer(make_input(layer))
    with torch.no_grad():
        output.zero_()
    with pytest.raises(RuntimeError, match="inplace"):
        output.sum().backward()


def test_one_kind_of_error_where_there_is_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds it out: torch on the CPU, NumPy or a kernel; what else goes wrong stays what it is."""
    layer = make_layer("spatial", 2, 3, backend="plain")
    for run, kind in (
        (lambda *_: torch.empty(1 << 48), torch.OutOfMemoryError),
        (lambda *_: np.empty(1 << 50), torch.OutOfMemoryError),
        (lambda *_: torch.zeros(2) @ torch.zeros(3), RuntimeError),
    ):
        monkeypatch.setattr(PlainKernel, "forward", run)
        with pytest.raises(RuntimeError) as found:
            layer(make_input(layer))
        assert type(found.value) is kind


def elsewhere(tensor: Tensor) -> Tensor:
    return tensor.clone()


@pytest.mark.parametrize("unpack", [elsewhere, Tensor.detach], ids=["moved", "in-place"])
@pytest.mark.parametrize("recompute", [False, True], ids=["gates", "states"])
def test_saved_tensors_that_hooks_move(unpack: Callable[[Tensor], Tensor], recompute: bool) -> None:
    layer = make_layer("spatial", 2, 3, directions=("ff", "rf"), recompute=recompute)
    x, options = make_input(layer), {"sizes": torch.tensor(SIZES[2])}
    inputs = [x, *layer.parameters()]
    expected = gradients([layer(x, **options)[0]], inputs)
    with torch.autograd.graph.saved_tensors_hooks(Tensor.detach, unpack):
        output = layer(x, **options)[0]
    assert_close(gradients([output], inputs), expected)


@pytest.mark.parametrize(
    "unpack", [lambda t: t[..., :-1], lambda t: t.to(torch.float16)], ids=["of-another-shape", "of-another-dtype"]
)
def test_saved_tensors_that_hooks_change_are_refused(unpack: Callable[[Tensor], Tensor]) -> None:
    layer = make_layer("spatial", 2, 3)
    x = make_input(layer)
    with torch.autograd.graph.saved_tensors_hooks(Tensor.detach, unpack):
        output = layer(x)[0]
    with pytest.raises(ValueError, match="expected"):
        output.sum().backward()
