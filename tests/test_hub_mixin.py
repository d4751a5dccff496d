"""Networks that hold the layer, and the layer itself, under the mixin of the Hub's client: saved to a folder, loaded again to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from spatial_lstm import SizedSequential, SpatialLSTM

pytest.importorskip("safetensors")
huggingface_hub = pytest.importorskip("huggingface_hub")

OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "all-directions": {"directions": "all", "merge": "mean"},
    "some-directions": {"directions": ("fr", "rf"), "num_layers": 2, "dropout": 0.25},
    "graves": {"cell": "graves", "peephole": True, "channels_last": True},
    "extended": {"extended": True, "bias": False},
    "stable": {"cell": "stable", "forget_bias": 0.5, "recompute": True},
    "diagonal": {"cell": "diagonal", "merge": "sum", "directions": "all", "backend": "plain"},
    "sequence": {"spatial_dims": 1, "cell": "graves", "directions": "all"},
    "volume": {"spatial_dims": 3, "saved_gates": "bfloat16"},
}


class HubLSTM(SpatialLSTM, huggingface_hub.PyTorchModelHubMixin):  # type: ignore[misc]
    pass


class Network(nn.Module, huggingface_hub.PyTorchModelHubMixin):  # type: ignore[misc]
    """What a user writes; ``kind`` says what is done to the weights."""

    def __init__(self, hidden: int = 3, kind: str = "plain") -> None:
        super().__init__()
        self.body = SpatialLSTM(2, hidden, cell="stable", directions="all", merge="sum")
        self.head = nn.Conv2d(hidden, 1, 3)
        KINDS[kind](self)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.head(self.body(images)[0])
        return found


def _tie(network: Network) -> None:
    """One weight under two names within the layer, and a layer under two names."""
    network.body.weight_hh_l0_rr = network.body.weight_hh_l0
    network.again = network.body


def _parametrize(network: Network) -> None:
    parametrizations.weight_norm(network.body, "weight_hh_l0")
    parametrizations.orthogonal(network.body, "weight_hh_l0_fr")


KINDS: dict[str, Callable[[Network], object]] = {
    "plain": lambda _: None,
    "tied": _tie,
    "parametrized": _parametrize,
    "shared-memory": lambda network: network.share_memory(),
    "channels-last": lambda network: network.to(memory_format=torch.channels_last),
    "transposed": lambda network: setattr(
        network.body, "weight_ih_l0", nn.Parameter(network.body.weight_ih_l0.detach().T.contiguous().T)
    ),
    "frozen": lambda network: network.body.requires_grad_(False),
    "a-cell-beside": lambda network: setattr(network, "site", network.body.cell(0, "rf")),
    "sized": lambda network: setattr(network, "more", SizedSequential(nn.Conv2d(1, 2, 3, stride=2), SpatialLSTM(2, 3))),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def assert_same(found: nn.Module, expected: nn.Module) -> None:
    """Every weight to the bit."""
    one, other = found.state_dict(), expected.state_dict()
    assert one.keys() == other.keys()
    for name, tensor in other.items():
        assert one[name].dtype == tensor.dtype
        assert torch.equal(one[name], tensor), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_comes_back(tmp_path: Path, kind: str) -> None:
    network = Network(kind=kind).eval()
    network.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    found = Network.from_pretrained(tmp_path)
    assert_same(found, network)
    images = torch.randn(2, 2, 6, 5)
    assert torch.equal(found(images), network(images))


def test_what_is_tied_stays_tied(tmp_path: Path) -> None:
    Network(kind="tied").save_pretrained(tmp_path)
    found = Network.from_pretrained(tmp_path)
    assert found.again is found.body
    assert found.body.weight_hh_l0_rr is found.body.weight_hh_l0


@pytest.mark.parametrize("name", OPTIONS)
def test_the_layer_comes_back_with_its_options(tmp_path: Path, name: str) -> None:
    layer = HubLSTM(2, 3, **OPTIONS[name]).eval()
    layer.save_pretrained(tmp_path)
    found = HubLSTM.from_pretrained(tmp_path)
    assert repr(found) == repr(layer)
    assert_same(found, layer)
    shape = (2, 2, 5, 4, 3)[: 2 + layer.spatial_dims]
    images = torch.randn(shape).movedim(1, -1) if layer.channels_last else torch.randn(shape)
    assert torch.equal(found(images)[0], layer(images)[0])


def test_a_layer_made_of_another_comes_back(tmp_path: Path) -> None:
    layer = HubLSTM.from_lstm(nn.LSTM(2, 3, 2, batch_first=True, bidirectional=True))
    layer.save_pretrained(tmp_path)
    assert_same(HubLSTM.from_pretrained(tmp_path), layer)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_comes_back_by_another_cast(tmp_path: Path, dtype: torch.dtype) -> None:
    """The mixin does not keep dtypes: it builds the class as it stands, in float32 here, which holds 16 bits exactly."""
    network = Network().to(dtype)
    network.save_pretrained(tmp_path)
    found = Network.from_pretrained(tmp_path)
    assert {tensor.dtype for tensor in found.state_dict().values()} == {torch.float32}
    assert_same(found.to(dtype), network)


def test_double_precision_comes_back_into_double(tmp_path: Path) -> None:
    layer = HubLSTM(2, 3, dtype=torch.float64)
    layer.save_pretrained(tmp_path)
    assert "float64" not in json.dumps(json.loads((tmp_path / "config.json").read_text()))
    assert_same(HubLSTM.from_pretrained(tmp_path, dtype=torch.float64), layer)
