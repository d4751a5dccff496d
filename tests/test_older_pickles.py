"""Modules that a release pickled whole go on: what has come since is at its default."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from spatial_lstm import OutputOnly, SizedSequential, SpatialLSTM, SpatialLSTMCell
from spatial_lstm.handwriting import HandwritingRecognizer
from spatial_lstm.image_models import RIDE, MCGSMImage, PixelRNN

# What 0.2.0 gave its modules of its own, besides tensors and modules.
OF_0_2_0 = {
    "Block": "residual",
    "CausalNeighborhood": "channels condition_channels count dim radius size",
    "ConditionalWhitening": "dim_in dim_out",
    "DiagonalBiLSTM": "",
    "FlattenHeight": "rows",
    "HandwritingRecognizer": "_least architecture cell classes directions dropout height",
    "MCGSM": "components dim_in dim_out scales",
    "MCGSMImage": "_config border channels",
    "MaskedConv2d": "kind radius rows",
    "OutputOnly": "",
    "PixelNetwork": "channels levels",
    "PixelRNN": "_config channels levels",
    "RIDE": "_config border channels",
    "RowLSTM": "hidden_size",
    "SizedSequential": "",
    "SpatialLSTM": "backend bias cell_type channels_last directions dropout extended forget_bias hidden_size input_size merge num_layers "
    "peephole recompute spatial_dims tile",
    "SpatialLSTMCell": "cell_type forget_bias hidden_size input_size spatial_dims",
}

MODULES: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], Tensor]]] = {
    "layer": (lambda: SpatialLSTM(3, 4, 2, directions="all"), lambda m: m(torch.ones(2, 3, 5, 6))[0]),
    "cell": (lambda: SpatialLSTMCell(3, 4), lambda m: m(torch.ones(2, 3))[0]),
    "output only": (lambda: OutputOnly(SpatialLSTM(3, 4)), lambda m: m(torch.ones(2, 3, 5, 6))),
    "sized": (lambda: SizedSequential(nn.Conv2d(3, 4, 3), SpatialLSTM(4, 5)), lambda m: m(torch.ones(2, 3, 5, 6))[0]),
    "RIDE": (lambda: RIDE(1, hidden_size=4, components=2), lambda m: m.log_prob(torch.ones(2, 1, 9, 9)).nats),
    "MCGSM": (lambda: MCGSMImage(1, components=2), lambda m: m.log_prob(torch.ones(2, 1, 9, 9)).nats),
    "DiagonalBiLSTM": (lambda: PixelRNN(hidden_size=4), lambda m: m.log_prob(torch.ones(2, 1, 5, 6)).nats),
    "RowLSTM": (lambda: PixelRNN(variant="row", hidden_size=4), lambda m: m.log_prob(torch.ones(2, 1, 5, 6)).nats),
    "handwriting": (lambda: HandwritingRecognizer(4), lambda m: m(torch.ones(1, 1, 48, 90), torch.tensor([90]))[0]),
}


@pytest.mark.parametrize("case", MODULES)
def test_a_module_of_0_2_0_goes_on(case: str) -> None:
    make, run = MODULES[case]
    module = make().eval()
    expected, options = run(module), repr(module)
    for each in module.modules():
        kept = OF_0_2_0.get(type(each).__name__)
        if kept is not None:
            for name in {*each.__dict__} - {*nn.Module().__dict__, *kept.split()}:
                del each.__dict__[name]
    again: nn.Module = pickle.loads(pickle.dumps(module))
    assert torch.equal(run(again), expected)
    assert repr(again) == options
    for each in again.modules():
        if hasattr(each, "reset_parameters"):
            each.reset_parameters()
