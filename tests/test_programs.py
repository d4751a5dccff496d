"""Compiled, exported and autocast programs, and modules wrapped in other modules, for every cell."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.utils.parametrizations import weight_norm

from spatial_lstm import SpatialLSTM, State
from tests.cases import SIZES, VARIANTS, assert_close, faces, gradients, make_input, make_layer, make_state

pytestmark = [  # of torch's own compiler and exporter
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
per_cell = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture(autouse=True)
def fresh_compiler() -> None:
    torch._dynamo.reset()


def compare(compiled: Any, layer: SpatialLSTM, x: Tensor, **options: Any) -> None:
    """Output, far faces and all gradients, compiled and eager."""
    inputs = [x, *layer.parameters()]
    results = []
    for call in (compiled, layer):
        output, far = call(x, **options)
        outputs = [output, *faces(far)]
        results.append([*outputs, *gradients(outputs, inputs)])
    assert_close(*results)


@per_cell
@pytest.mark.support("`torch.compile(fullgraph=True)`, forward and backward")
def test_compile_with_inductor(variant: str) -> None:
    layer = make_layer(variant, 3, 4, 2, directions="all", dtype=torch.float32)
    compare(torch.compile(layer, fullgraph=True), layer, make_input(layer, 2, (5, 4)))


@per_cell
@pytest.mark.support("`torch.compile`: at most 2 compilations over 4 sizes")
def test_compile_few_times(variant: str) -> None:
    layer = make_layer(variant, 3, 4, 2, directions="all")
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer, fullgraph=True, backend=counter)
    for batch, *extents in ((2, 5, 4), (3, 7, 6), (4, 6, 9), (5, 8, 8)):
        compare(compiled, layer, make_input(layer, batch, extents))
    assert counter.frame_count <= 2


@per_cell
@pytest.mark.support("`torch.compile(fullgraph=True)` with `sizes` and faces")
def test_compile_with_sizes_and_faces(variant: str) -> None:
    layer = make_layer(variant, 3, 4, 2, directions="all")
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for sizes in (SIZES[2], [[1, 1], [4, 3]]):
        near = make_state(layer, 2, (4, 3), grad=False)
        compare(compiled, layer, make_input(layer), state=near, sizes=torch.tensor(sizes))


@per_cell
@pytest.mark.support("`torch.export` with dynamic N, H, W")
@pytest.mark.parametrize("ragged", [False, True])
def test_export(variant: str, ragged: bool) -> None:
    layer = make_layer(variant, 3, 4, 2, directions="all")
    dims = {name: torch.export.Dim(name) for name in "NHW"}
    dynamic: dict[str, Any] = {"input": {0: dims["N"], 2: dims["H"], 3: dims["W"]}}
    options: dict[str, Any] = {"sizes": torch.tensor(SIZES[2])} if ragged else {}
    dynamic |= {"sizes": {0: dims["N"]}} if ragged else {}
    x = make_input(layer, grad=False)
    exported = torch.export.export(layer, (x,), options, dynamic_shapes=dynamic).module()
    for shape, sizes in (((2, 4, 3), SIZES[2]), ((3, 7, 5), [[7, 5], [1, 2], [3, 3]])):
        x = make_input(layer, shape[0], shape[1:], grad=False)
        options = {"sizes": torch.tensor(sizes)} if ragged else {}
        assert_close([exported(x, **options)[0]], [layer(x, **options)[0]])


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # torch 2.11, of its own archives
@pytest.mark.parametrize("near", [None, "all", "one"])
def test_exported_programs_are_saved(near: str | None) -> None:
    layer = make_layer("spatial", 3, 4, 2, directions="all")
    x, state = make_input(layer, grad=False), make_state(layer, 2, (4, 3), grad=False)
    given = (x,) if near is None else (x, state if near == "all" else state.along(0))
    file = io.BytesIO()
    torch.export.save(torch.export.export(layer, given), file)
    file.seek(0)
    output, far = torch.export.load(file).module()(*given)
    expected = layer(*given)
    assert isinstance(far, State)
    assert torch.equal(output, expected[0])
    assert all(map(torch.equal, faces(far), faces(expected[1])))


@per_cell
@pytest.mark.support("Autocast, bfloat16 and float16")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(variant: str, dtype: torch.dtype) -> None:
    layer = make_layer(variant, 3, 4, 2, directions="all", dtype=torch.float32, scale=0.2)
    x, near = make_input(layer), make_state(layer, 2, (4, 3))
    inputs = [x, *faces(near), *layer.parameters()]
    exact = layer(x, near)[0]
    with torch.autocast("cpu", dtype=dtype):
        output, far = layer(x, near)
    assert output.dtype == dtype
    assert far.c[0] is not None
    assert far.c[0].dtype == torch.float32
    bound = 16 * torch.finfo(dtype).eps
    assert (output - exact).abs().max() < bound
    for found, expected in zip(gradients([output], inputs), gradients([exact], inputs), strict=True):
        assert found.dtype == torch.float32
        assert (found - expected).abs().max() < 4 * bound * max(1.0, expected.abs().max().item())


@per_cell
@pytest.mark.support("Meta device, then `to_empty` and `reset_parameters`")
def test_meta_device(variant: str) -> None:
    options = dict(VARIANTS[variant], directions="all")
    layer = SpatialLSTM(3, 4, 2, device="meta", **options)
    assert layer(torch.empty(2, 3, 5, 6, device="meta"))[0].shape == (2, 16, 5, 6)
    layer.to_empty(device="cpu")
    torch.manual_seed(0)
    layer.reset_parameters()
    torch.manual_seed(0)
    twin = SpatialLSTM(3, 4, 2, **options)
    torch.manual_seed(0)
    twin.reset_parameters()
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), twin.parameters(), strict=True))


@per_cell
@pytest.mark.support("`parametrizations.weight_norm`")
def test_weight_norm(variant: str) -> None:
    layer = make_layer(variant, 3, 4, directions="all")
    plain = make_layer(variant, 3, 4, directions="all")
    plain.load_state_dict(layer.state_dict())
    weight_norm(layer, "weight_hh_l0")
    x = make_input(layer)
    assert_close([layer(x)[0]], [plain(x)[0]])
    layer(x)[0].sum().backward()
    magnitude: nn.Parameter = layer.parametrizations.weight_hh_l0.original0  # type: ignore[union-attr, assignment]
    assert magnitude.grad is not None
    cell = layer.cell()
    assert_close([cell(x[:, :, 0, 0])[0]], [layer(x)[0][:, :4, 0, 0]])


@per_cell
@pytest.mark.support("Inference mode")
def test_inference_mode_leaves_nothing_that_training_cannot_use(variant: str) -> None:
    layer = make_layer(variant, 3, 4, directions="all")
    sizes = torch.tensor([[2, 11], [5, 3]])
    for backend in ("auto", "composite"):
        layer.backend = backend
        x = make_input(layer, 2, (5, 11))
        with torch.inference_mode():
            inferred = layer(x, sizes=sizes)[0]
        trained = layer(x, sizes=sizes)[0]
        gradients([trained], [x, *layer.parameters()])
        assert torch.equal(inferred, trained)


@per_cell
@pytest.mark.support("`torch.compile` of a model with other layers around")
def test_inside_a_compiled_model(variant: str) -> None:
    layer = make_layer(variant, 3, 4, directions="all", merge="mean")
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, dtype=torch.float64), First(layer), nn.Conv2d(4, 1, 1, dtype=torch.float64)
    )
    x = torch.randn(2, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    inputs = [x, *model.parameters()]
    assert_close(gradients([compiled(x)], inputs), gradients([model(x)], inputs))


@pytest.mark.parametrize(("channels", "n"), [(1, 2), (3, 2), (3, 3)])
def test_sizes_change_between_convolutions_with_inductor(channels: int, n: int) -> None:
    """Whose inputs are kept for the backward in a layout of the compiler's choice."""
    conv = getattr(nn, f"Conv{n}d")
    # The gradient of a bias of one channel would be what is left of many numbers that cancel out.
    model = nn.Sequential(
        conv(1, channels, 2, bias=channels > 1),
        First(make_layer("spatial", channels, 4, spatial_dims=n, dtype=torch.float32)),
        conv(4, 2, 1),
    )
    compiled = torch.compile(model, fullgraph=True)
    for extents in ((6, 5, 4), (7, 6, 4)):
        x = torch.randn(2, 1, *extents[:n], requires_grad=True)
        inputs = [x, *model.parameters()]
        results = []
        for run in (compiled, model):
            output = run(x)
            results.append([output, *gradients([output], inputs)])
        assert_close(*results)


class First(nn.Module):
    """A layer's output without its state, as ``nn.Sequential`` wants it."""

    def __init__(self, layer: SpatialLSTM) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.layer(x)[0]
        return output
