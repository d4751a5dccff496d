"""What stands for a tensor elsewhere and cannot be computed on here is refused with what to do: DTensors, and Proxies of torch.fx."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, fx, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, distribute_module, distribute_tensor

from spatial_lstm import OutputOnly, SizedSequential, SpatialLSTM, SpatialLSTMCell, State, functional
from spatial_lstm.handwriting import HandwritingRecognizer
from spatial_lstm.image_models import PixelRNN

pytestmark = pytest.mark.filterwarnings("ignore:DTensor random operators")  # torch 2.6, of any mesh of CPUs
X = torch.ones(2, 3, 4, 5)


@pytest.fixture
def mesh() -> Iterator[DeviceMesh]:
    """One process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def layer() -> SpatialLSTM:
    return SpatialLSTM(3, 4)


def one_axis() -> SpatialLSTM:
    return SpatialLSTM(3, 4, spatial_dims=1, cell="graves")


# What is done on a mesh, where `whole` makes a DTensor and `split` the weights of a module DTensors, and what is named.
DTENSORS: dict[str, tuple[Callable[[Callable[[Tensor], Tensor], Callable[[nn.Module], nn.Module]], object], str]] = {
    "input": (lambda whole, split: layer()(whole(X)), "input"),
    "weights": (lambda whole, split: split(layer())(X), "weight_hh"),
    "both": (lambda whole, split: split(layer())(whole(X)), "input"),
    "face": (
        lambda whole, split: layer()(X, State((whole(torch.ones(1, 2, 4, 5)), None), (None, None))),
        r"state.h\[0\]",
    ),
    "in tiles": (lambda whole, split: split(SpatialLSTM(3, 4, tile=(2, 2)))(X), "weight_hh"),
    "composite": (lambda whole, split: split(SpatialLSTM(3, 4, backend="composite"))(X), "weight_hh"),
    "functional": (lambda whole, split: functional.spatial_lstm(whole(X), *layer().parameters()), "input"),
    "cell": (lambda whole, split: split(layer()).cell()(X[:, :, 0, 0]), "weight_hh"),  # type: ignore[operator]
    "input of a cell": (lambda whole, split: SpatialLSTMCell(3, 4)(whole(X[:, :, 0, 0])), "x"),
    "to_lstm": (lambda whole, split: split(one_axis()).to_lstm(), "weight_ih_l0"),  # type: ignore[operator]
    "from_lstm": (lambda whole, split: SpatialLSTM.from_lstm(split(nn.LSTM(3, 4, batch_first=True))), "weight_ih_l0"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", DTENSORS)
def test_dtensors(mesh: DeviceMesh, case: str) -> None:
    run, name = DTENSORS[case]
    words = rf"expected {name} to be a Tensor as a whole, got a DTensor: take its full_tensor\(\), or unshard\(\)"
    with pytest.raises(TypeError, match=words):
        run(
            lambda tensor: distribute_tensor(tensor, mesh, [Replicate()]),
            lambda module: distribute_module(module, mesh),
        )


@pytest.mark.skipif(torch.__version__ < "2.11", reason="torch 2.6 cannot take a part of a DTensor")
def test_a_cell_of_dtensors_alone_runs(mesh: DeviceMesh) -> None:
    x, cell = X[:, :, 0, 0], SpatialLSTMCell(3, 4)
    expected, _ = cell(x)
    found, _ = distribute_module(cell, mesh)(distribute_tensor(x, mesh, [Replicate()]))
    assert isinstance(found, DTensor)
    torch.testing.assert_close(found.full_tensor(), expected)


class Leaves(fx.Tracer):
    """What ``leaf_modules`` makes of a tracer."""

    def __init__(self, *leaves: type[nn.Module]) -> None:
        super().__init__()
        self.leaves = leaves

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, self.leaves) or super().is_leaf_module(module, name)


@pytest.mark.parametrize(
    ("make", "leaf"),
    [
        (layer, "SpatialLSTM"),
        (lambda: OutputOnly(layer()), "SpatialLSTM"),
        (lambda: nn.Sequential(OutputOnly(layer())), "SpatialLSTM"),
        (layer().cell, "SpatialLSTMCell"),
        (lambda: SizedSequential(nn.Conv2d(3, 3, 1), layer()), "SizedSequential"),
        (lambda: HandwritingRecognizer(5), "HandwritingRecognizer"),
        (lambda: PixelRNN(levels=2), "the model's class"),
    ],
)
def test_torch_fx_says_what_to_go_around(make: Callable[[], nn.Module], leaf: str) -> None:
    with pytest.raises(TypeError, match=rf"got a Proxy: torch.fx cannot trace .* a leaf .* leaf_modules=\[{leaf}\]"):
        fx.symbolic_trace(make())


class First(nn.Module):
    """The first of what a network returns."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.network(x)[0]
        return output


@pytest.mark.parametrize(
    "make", [lambda: OutputOnly(layer()), lambda: First(SizedSequential(nn.Conv2d(3, 3, 1), layer()))]
)
def test_torch_fx_goes_around_a_leaf(make: Callable[[], nn.Module]) -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), make())
    traced = fx.GraphModule(network, Leaves(SpatialLSTM, SizedSequential).trace(network))
    assert torch.equal(traced(X), network(X))
