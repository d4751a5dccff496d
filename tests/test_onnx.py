"""Exported to ONNX once, with sizes left open, and equal in onnxruntime at sizes it was not exported with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from benchmarks.fields import Size
from benchmarks.harness import Budget, Settings
from spatial_lstm import OutputOnly, SpatialLSTM, State
from tests.cases import VARIANTS, faces, make_input, make_layer, make_state

pytest.importorskip("onnxscript")
runtime = pytest.importorskip("onnxruntime")
onnx_speed = pytest.importorskip("benchmarks.onnx_speed")

pytestmark = [  # of torch's own exporter
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:# .axis name:UserWarning"),
]

SHAPES = (
    (1, 1, 1),
    (2, 1, 1),
    (1, 1, 6),
    (1, 6, 1),
    (1, 2, 2),
    (3, 2, 9),
    (3, 9, 2),
    (4, 5, 5),
    (5, 1, 3),
    (1, 13, 4),
    (2, 4, 17),
    (7, 8, 8),
)  # N, H, W; exported with others
EXPORTED = (2, 3, 4)


class Session:
    """An exported program in onnxruntime."""

    def __init__(self, model: nn.Module, arguments: tuple[Any, ...], path: Path, **options: Any) -> None:
        program = torch.onnx.export(model, arguments, dynamo=True, verbose=False, **options)
        assert program is not None
        self.nodes = [node.op_type for node in program.model.graph]
        program.save(path / "model.onnx")
        settings = runtime.SessionOptions()
        settings.intra_op_num_threads, settings.log_severity_level = 1, 3
        self.session = runtime.InferenceSession(path / "model.onnx", settings, providers=["CPUExecutionProvider"])

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        names = [entry.name for entry in self.session.get_inputs()]
        given = {name: tensor.detach().numpy() for name, tensor in zip(names, inputs, strict=True)}
        return [torch.from_numpy(found) for found in self.session.run(None, given)]


def assert_equal(found: list[Tensor], expected: list[Tensor]) -> None:
    """To 1e-5, relative to the larger of one and the largest entry."""
    assert [t.shape for t in found] == [t.shape for t in expected]
    for a, b in zip(found, expected, strict=True):
        assert torch.isfinite(a).all()
        assert (a - b).abs().max() <= 1e-5 * b.abs().max().clamp(min=1)


def drawn(variant: str, *args: Any, **options: Any) -> SpatialLSTM:
    """A float32 layer whose weights do not blow rounding up."""
    return make_layer(variant, *args, dtype=torch.float32, scale=0.3, **options).eval()


def open_sizes(axes: int, channels_last: bool = False) -> dict[int, Any]:
    """N and every extent free."""
    first = 1 if channels_last else 2
    return {0: Dim.DYNAMIC, **{first + axis: Dim.DYNAMIC for axis in range(axes)}}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.support("ONNX with dynamic N, H, W")
def test_any_size(variant: str, tmp_path: Path) -> None:
    layer = drawn(variant, 3, 4, directions="all")
    x = make_input(layer, EXPORTED[0], EXPORTED[1:], grad=False)
    named = {0: Dim("N"), 2: Dim("H"), 3: Dim("W")}
    session = Session(layer, (x,), tmp_path, dynamic_shapes={"input": named})
    assert session.nodes.count("Scan") == 1
    for batch, *extents in SHAPES:
        x = make_input(layer, batch, extents, grad=False)
        output, far = layer(x)
        assert_equal(session(x), [output, *faces(far)])


class Everything(nn.Module):
    """A layer that is given near faces and sizes, all as plain tensors."""

    def __init__(self, layer: SpatialLSTM) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, sizes: Tensor, *near: Tensor) -> tuple[Tensor, ...]:
        n = self.layer.spatial_dims
        output, far = self.layer(x, State(near[:n], near[n:]), sizes=sizes)
        return output, *faces(far)


@pytest.mark.parametrize(
    ("variant", "axes", "options"),
    [
        ("graves-peephole", 1, {"directions": "all", "num_layers": 2}),
        ("stable", 2, {"directions": ("fr", "rr"), "merge": "mean", "bias": False}),
        ("spatial", 3, {"directions": ("frf", "rfr"), "channels_last": True, "merge": "sum"}),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else None,
)
def test_sizes_faces_layers_and_axes(variant: str, axes: int, options: dict[str, Any], tmp_path: Path) -> None:
    layer = drawn(variant, 3, 4, spatial_dims=axes, **options)

    def arguments(batch: int, extents: list[int]) -> tuple[Tensor, ...]:
        own = torch.stack([torch.randint(1, extent + 1, (batch,)) for extent in extents], dim=1)
        x = make_input(layer, batch, extents, grad=False)
        return x, own, *faces(make_state(layer, batch, extents, grad=False))

    face = [dict.fromkeys((1, *range(3, axes + 2)), Dim.DYNAMIC) for _ in range(2 * axes)]
    shapes = (open_sizes(axes, layer.channels_last), {0: Dim.DYNAMIC}, tuple(face))
    model = Everything(layer).eval()
    session = Session(model, arguments(2, [3, 4, 5][:axes]), tmp_path, dynamic_shapes=shapes)
    for batch, *extents in SHAPES:
        given = arguments(batch, [*extents, 3][:axes])
        assert_equal(session(*given), list(model(*given)))


@pytest.mark.parametrize(
    "options",
    [
        {"dynamic_shapes": ({0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO},)},
        {"input_names": ["x"], "dynamic_axes": {"x": {0: "N", 2: "H", 3: "W"}}},
    ],
    ids=["auto", "axes"],
)
@pytest.mark.filterwarnings("ignore:# 'dynamic_axes' is not recommended:UserWarning")
def test_within_a_model_from_a_batch_of_one(options: dict[str, Any], tmp_path: Path) -> None:
    layer = drawn("diagonal", 3, 4, directions=("ff", "rr"))
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), OutputOnly(layer), nn.Conv2d(8, 1, 1)).eval()
    session = Session(model, (torch.randn(1, 2, 3, 4),), tmp_path, **options)
    for shape in SHAPES:
        x = torch.randn(shape[0], 2, *shape[1:])
        assert_equal(session(x), [model(x)])


def test_fixed_sizes(tmp_path: Path) -> None:
    layer = drawn("graves", 3, 4, directions="all")
    x, near = make_input(layer, grad=False), make_state(layer, 2, (4, 3), grad=False)
    output, far = layer(x, near)
    assert_equal(Session(layer, (x, near), tmp_path)(x, *faces(near)), [output, *faces(far)])


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_refusals(tmp_path: Path) -> None:
    layer = drawn("spatial", 3, 4)
    x = make_input(layer, grad=False)
    with pytest.raises(ValueError, match="dynamo=True., got dynamo=False, whose graph would hold for one size"):
        torch.onnx.export(nn.Sequential(OutputOnly(layer)).eval(), (x,), tmp_path / "model.onnx", dynamo=False)
    layer.backend = "plain"
    with pytest.raises(torch.onnx.OnnxExporterError, match="expected backend 'auto' or 'composite'"):
        torch.onnx.export(layer, (x,), tmp_path / "model.onnx", dynamo=True, verbose=False)


class Slope(nn.Module):
    """The gradient of a layer's output, which a scan does not have."""

    def __init__(self, layer: SpatialLSTM) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(self.layer(x)[0].sum() + x.sum(), x)[0]


def test_a_derivative_is_refused(tmp_path: Path) -> None:
    model = Slope(drawn("spatial", 3, 4)).eval()
    with pytest.raises(torch.onnx.OnnxExporterError, match="no derivative of a layer within an exported ONNX program"):
        torch.onnx.export(model, (torch.randn(2, 3, 4, 5),), tmp_path / "model.onnx", dynamo=True, verbose=False)


def test_the_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(onnx_speed, "SIZES", (Size(2, (4, 3), 3, 4, "all"),))
    monkeypatch.setattr(onnx_speed, "QUICK_BUDGET", Budget(0.0, least=2, most=2))
    assert onnx_speed.run(Settings(tmp_path, (1,), True))["rows"]
    assert "| 2 x 4x3, 3 to 4, 4 directions | 1 |" in capsys.readouterr().out
