"""Networks on ragged batches in transforms, and compiled, exported, traced or run on fake tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.export import Dim, export
from torch.func import functional_call, grad, hessian, jacrev, jvp, vjp, vmap

from spatial_lstm import SizedModule, SizedSequential, SpatialLSTM
from spatial_lstm.handwriting import ARCHITECTURES, HandwritingRecognizer
from tests.cases import assert_close

pytestmark = [  # of torch's own compiler and exporter
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning"),
]
SIZES: dict[str, Any] = {
    "none": None,
    "full": [[9, 8], [9, 8]],
    "list": [[9, 8], [6, 5]],
    "tensor": torch.tensor([[9, 7], [9, 5]]),
}
WIDTHS = torch.tensor([40, 25])
TARGETS, LENGTHS = torch.tensor([[1, 2], [3, 3]]), torch.tensor([2, 1])
READ = "whose values are known, got a program that is traced, exported or run on fake tensors"
MAPPED = "whose values are known, the same in every entry of a vmap, got a tensor that vmap maps over"
ONE_GRAPH = "expected no sizes in a program that is one graph"


@pytest.fixture(autouse=True)
def fresh_compiler() -> None:
    torch._dynamo.reset()


class Own(SizedModule):
    """A layer of one's own, which leaves the last column out and something else behind."""

    def forward(self, x: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        after = self.extents(sizes)
        inside = torch.arange(x.shape[-1]) < after[:, -1:]  # (N, W)
        return x * inside[:, None, None], after

    def extents(self, sizes: Tensor) -> Tensor:
        return torch.cat([sizes[:, :-1], sizes[:, -1:] - 1], 1)


def make(*others: nn.Module) -> SizedSequential:
    torch.manual_seed(0)
    inner = SizedSequential(nn.BatchNorm2d(3), nn.Tanh(), nn.MaxPool2d(2, 1, 1))
    layers = nn.Conv2d(2, 3, 3, (2, 1), 1), inner, SpatialLSTM(3, 4, directions="all", merge="sum")
    return SizedSequential(*layers, nn.Dropout2d(), *others, nn.Conv2d(4, 2, 2)).double().eval()


def batch(*shape: int) -> Tensor:
    torch.manual_seed(1)
    return torch.rand(*(shape or (2, 2, 9, 8)), dtype=torch.float64)


def gradient(x: Tensor, call: Callable[[Tensor], Tensor]) -> Tensor:
    """By autograd, of the sum of squares."""
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(call(x).square().sum(), x)
    return found


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_transforms(sizes: Any) -> None:
    network, x, tangent = make(Own()), batch(), batch() - 0.5

    def run(x: Tensor) -> Tensor:
        return network(x, sizes)[0]

    def loss(x: Tensor) -> Tensor:
        return run(x).square().sum()

    expected, y = gradient(x, run), run(x)
    assert_close([grad(loss)(x), jacrev(loss)(x)], [expected] * 2)
    output, pull = vjp(run, x)
    assert_close([output, *pull(2 * y)], [y, expected])
    found, slope = jvp(loss, (x,), (tangent,))
    assert_close([found, slope], [loss(x), (expected * tangent).sum()])
    other = torch.stack([x, -x])
    assert_close([vmap(run)(other), vmap(grad(loss))(other)[1]], [torch.stack([y, run(-x)]), gradient(-x, run)])


def test_images_are_mapped_over_one_by_one() -> None:
    network, x = make(), batch()
    assert_close([vmap(lambda image: network(image[None])[0][0])(x)], [network(x)[0]])
    scale = torch.tensor(1.0, dtype=torch.float64)
    twice = hessian(lambda scale: network(x * scale, [[9, 8], [6, 5]])[0].square().sum())(scale)
    step = 1e-4
    slopes = [gradient(scale + s, lambda scale: network(x * scale, [[9, 8], [6, 5]])[0]) for s in (step, -step)]
    torch.testing.assert_close(twice, (slopes[0] - slopes[1]) / (2 * step), rtol=1e-5, atol=0)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_gradients_of_parameters_for_each_of_several_batches(sizes: Any) -> None:
    network, x = make(), torch.stack([batch(), -batch()])
    parameters = dict(network.named_parameters())

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(network, parameters, (x, sizes))[0].square().sum()

    found = vmap(grad(loss), (None, 0))(parameters, x)
    for k in range(2):
        expected = torch.autograd.grad(loss(parameters, x[k]), list(parameters.values()))
        assert_close([found[name][k] for name in parameters], expected)


class Loss(nn.Module):
    """The loss as a module's output, for :func:`functional_call`."""

    def __init__(self, recognizer: HandwritingRecognizer) -> None:
        super().__init__()
        self.recognizer = recognizer

    def forward(self, *args: Tensor) -> Tensor:
        return self.recognizer.loss(*args)


def reader(architecture: str = "default") -> HandwritingRecognizer:
    torch.manual_seed(0)
    return HandwritingRecognizer(5, height=32, architecture=architecture).double().eval()


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_transforms_of_the_recognizer(architecture: str) -> None:
    recognizer, images = reader(architecture), torch.stack([batch(2, 1, 32, 40), 1 - batch(2, 1, 32, 40)])
    loss = Loss(recognizer)
    parameters = dict(loss.named_parameters())

    def nats(parameters: dict[str, Tensor], images: Tensor) -> Tensor:
        return functional_call(loss, parameters, (images, WIDTHS, TARGETS, LENGTHS))

    found = [grad(nats)(parameters, images[0]), vmap(grad(nats), (None, 0))(parameters, images)]
    expected = torch.autograd.grad(nats(parameters, images[0]), list(parameters.values()))
    assert_close(list(found[0].values()), expected)
    assert_close([each[0] for each in found[1].values()], expected)
    tangent = batch(2, 1, 32, 40) - 0.5
    slope = jvp(lambda x: recognizer(x, WIDTHS)[0].exp().square().sum(), (images[0],), (tangent,))[1]
    assert_close([slope], [(gradient(images[0], lambda x: recognizer(x, WIDTHS)[0].exp()) * tangent).sum()])


def test_values_that_are_mapped_over_are_refused() -> None:
    network, recognizer, x, images = make(), reader(), batch(), batch(2, 1, 32, 40)
    with pytest.raises(ValueError, match=f"expected sizes {MAPPED}"):
        vmap(lambda sizes: network(x, sizes)[0])(torch.tensor([[[9, 8], [6, 5]]]))
    with pytest.raises(ValueError, match=f"expected widths {MAPPED}"):
        vmap(lambda image, width: recognizer(image[None], width[None])[0])(images, WIDTHS)
    with pytest.raises(ValueError, match=f"expected targets {MAPPED}"):
        vmap(lambda targets: recognizer.loss(images, WIDTHS, targets, LENGTHS))(TARGETS[None])


@pytest.mark.parametrize("dynamic", [True, None], ids=["dynamic", "static"])
def test_one_graph_without_sizes(dynamic: bool | None) -> None:
    network = make()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for shape in ((2, 2, 9, 8), (3, 2, 6, 11)):
        found, sizes = compiled(batch(*shape))
        expected, own = network(batch(*shape))
        assert_close([found], [expected])
        assert torch.equal(sizes, own)


@pytest.mark.parametrize(("given", "training"), [("list", True), ("tensor", False)])
def test_several_graphs(given: str, training: bool) -> None:
    network, sizes = make(Own())[1:].train(training), SIZES[given]
    network[2] = nn.Identity()  # instead of dropout
    x = batch(2, 3, 9, 8)
    found, own = torch.compile(network, backend="eager")(x, sizes)
    expected, sizes_now = network(x, sizes)
    assert_close([found], [expected])
    assert torch.equal(own, sizes_now)


def test_export() -> None:
    network = make()
    dims = {0: Dim("N"), 2: Dim("H", min=3), 3: Dim("W", min=3)}
    program = export(network, (batch(),), dynamic_shapes=(dims,)).module()
    for shape in ((2, 2, 9, 8), (3, 2, 6, 11), (5, 2, 4, 3)):
        found, sizes = program(batch(*shape))
        expected, own = network(batch(*shape))
        assert_close([found], [expected])
        assert torch.equal(sizes, own)


@pytest.mark.filterwarnings("ignore:# .axis name:UserWarning")
def test_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    network = make().float()
    shapes = (dict.fromkeys((0, 2, 3), Dim.DYNAMIC),)
    program = torch.onnx.export(network, (batch().float(),), dynamo=True, verbose=False, dynamic_shapes=shapes)
    program.save(tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for shape in ((2, 2, 9, 8), (3, 2, 6, 11)):
        x = batch(*shape).float()
        found, sizes = map(torch.from_numpy, session.run(None, {session.get_inputs()[0].name: x.numpy()}))
        expected, own = network(x)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(sizes, own)


def test_fake_tensors() -> None:
    with FakeTensorMode():
        network = SizedSequential(nn.Conv2d(2, 3, 3), SizedSequential(nn.BatchNorm2d(3)), SpatialLSTM(3, 4))
        y, sizes = network(torch.rand(2, 2, 9, 8))
        assert (y.shape, sizes.shape) == ((2, 4, 7, 6), (2, 2))


@pytest.mark.parametrize("sizes", [SIZES["list"], SIZES["tensor"]], ids=["list", "tensor"])
def test_sizes_without_values_are_refused(sizes: Any) -> None:
    network, recognizer, images = make(), reader(), batch(2, 1, 32, 40)
    with pytest.raises(ValueError, match=f"expected sizes {READ}"):
        export(network, (batch(), sizes))
    with pytest.raises(ValueError, match=f"expected widths {READ}"):
        export(recognizer, (images, WIDTHS))
    with pytest.raises(torch._dynamo.exc.Unsupported, match=ONE_GRAPH):
        torch.compile(network, backend="eager", fullgraph=True)(batch(), sizes)
    with pytest.raises(torch._dynamo.exc.Unsupported, match=ONE_GRAPH):
        torch.compile(recognizer, backend="eager", fullgraph=True)(images, WIDTHS)
    with FakeTensorMode(allow_non_fake_inputs=True):
        x, lines = (torch.rand(t.shape, dtype=t.dtype) for t in (batch(), images))
        with pytest.raises(ValueError, match=f"expected sizes {READ}"):
            network(x, sizes)
        with pytest.raises(ValueError, match=f"expected widths {READ}"):
            recognizer(lines, WIDTHS)


def test_the_sizes_after_a_layer_of_ones_own_have_no_values_either() -> None:
    with pytest.raises(ValueError, match=rf"expected sizes after Own\(\) {READ}"):
        export(make(Own()), (batch(),))


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("more", [(), (torch.tensor([[9, 8], [6, 5]]),)], ids=["without", "sizes"])
def test_traces_which_would_hold_for_these_sizes_alone_are_refused(more: tuple[Tensor, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected torch.export.export, .*got torch.jit.trace, .*constants"):
        torch.jit.trace(make(), (batch(), *more))
    with pytest.raises(ValueError, match=f"expected widths {READ}"):
        torch.jit.trace(reader(), (batch(2, 1, 32, 40), WIDTHS))
