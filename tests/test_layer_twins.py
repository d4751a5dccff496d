"""What computes the same as SpatialLSTM: ``nn.LSTM`` of one axis, SpatialLSTMCell site by site, the functional form, OutputOnly."""

from __future__ import annotations

import inspect
import itertools

import pytest
import torch
from torch import Tensor, nn

from spatial_lstm import OutputOnly, SpatialLSTM, State, functional
from tests.cases import EXTENTS, SIZES, VARIANTS, assert_close, faces, make_input, make_layer, make_state


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_reproduces_nn_lstm(bidirectional: bool, bias: bool) -> None:
    lstm = nn.LSTM(3, 4, 3, bias=bias, batch_first=True, bidirectional=bidirectional, dtype=torch.float64)
    rows = 6 if bidirectional else 3
    x, h, c = torch.randn(2, 7, 3, dtype=torch.float64), *torch.randn(2, rows, 2, 4, dtype=torch.float64)
    expected, (h_n, c_n) = lstm(x, (h, c))
    layer = SpatialLSTM.from_lstm(lstm)
    output, state = layer(x, State((h,), (c,)))
    assert_close([output, *faces(state)], [expected, h_n, c_n])
    stable = SpatialLSTM(
        3,
        4,
        3,
        bias,
        True,
        directions="all" if bidirectional else None,
        spatial_dims=1,
        cell="stable",
        dtype=torch.float64,
    )
    stable.load_state_dict(layer.state_dict())
    assert_close([stable(x, State((h,), (c,)))[0]], [expected])
    first = SpatialLSTM.from_lstm(lstm, channels_last=False)
    assert_close([first(x.mT, State((h,), (c,)))[0].mT], [expected])


def test_from_lstm_refuses() -> None:
    with pytest.raises(TypeError, match=r"expected an nn\.LSTM, got GRU"):
        SpatialLSTM.from_lstm(nn.GRU(3, 4))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="proj_size=2"):
        SpatialLSTM.from_lstm(nn.LSTM(3, 4, proj_size=2))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_cell_visits_what_the_layer_computes(variant: str, n: int) -> None:
    layer = make_layer(variant, 3, 4, spatial_dims=n, directions=("f" * n, "f" * (n - 1) + "r"))
    x = make_input(layer)
    extents = EXTENTS[n]
    for d, direction in enumerate(layer.directions):
        cell = layer.cell(0, direction)
        states: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}
        output = torch.empty(2, 4, *extents, dtype=torch.float64)
        orders = [range(s) if letter == "f" else range(s)[::-1] for s, letter in zip(extents, direction, strict=True)]
        for p in itertools.product(*orders):
            back = [1 if letter == "f" else -1 for letter in direction]
            pairs = [states.get(tuple(v - back[k] * (j == k) for j, v in enumerate(p))) for k in range(n)]
            states[p] = cell(x[(slice(None), slice(None), *p)], pairs)
            output[(slice(None), slice(None), *p)] = states[p][0]
        assert_close([output], [layer(x)[0][:, d * 4 : d * 4 + 4]])


def test_cell_shares_parameters() -> None:
    layer = make_layer("spatial-extended", 3, 4, 2, directions="all")
    cell = layer.cell(1, "fr")
    assert cell.weight_hh is layer.weight_hh_l1_fr
    assert cell.weight_ch is layer.weight_ch_l1_fr
    assert layer.cell().weight_ih is layer.weight_ih_l0
    with pytest.raises(ValueError, match=r"expected layer in 0 \.\. 1, got 2"):
        layer.cell(2)
    with pytest.raises(ValueError, match="expected direction to be one of"):
        layer.cell(0, "f")


def test_functional_equals_the_module() -> None:
    for variant in VARIANTS:
        layer = make_layer(variant, 3, 4, directions="all", merge="sum")
        x, near, sizes = make_input(layer), make_state(layer, 2, (4, 3)), torch.tensor(SIZES[2])
        weights = {
            name: torch.stack([getattr(layer, f"{name}_l0{d}") for d in ("", "_fr", "_rf", "_rr")])
            for name in ("weight_ih", "weight_hh", "bias", "weight_peephole", "weight_ch")
            if hasattr(layer, f"{name}_l0")
        }
        options = {"directions": "all", "cell": layer.cell_type, "merge": "sum", "sizes": sizes, "state": near}
        output, far = functional.spatial_lstm(x, **weights, **options)  # type: ignore[arg-type]
        expected, expected_far = layer(x, near, sizes=sizes)
        assert_close([output, *faces(far)], [expected, *faces(expected_far)])


def test_functional_takes_one_direction_without_the_leading_dimension() -> None:
    layer = make_layer("graves-peephole")
    x = make_input(layer)
    output, _ = functional.spatial_lstm(
        x,
        layer.weight_ih_l0,
        layer.weight_hh_l0,
        layer.bias_l0,
        cell="graves",
        weight_peephole=layer.weight_peephole_l0,
    )
    assert torch.equal(output, layer(x)[0])


def test_output_only_takes_what_the_layer_takes() -> None:
    def arguments(module: type[nn.Module]) -> list[inspect.Parameter]:
        return list(inspect.signature(module.forward).parameters.values())

    assert arguments(OutputOnly) == arguments(SpatialLSTM)
    layer = make_layer("spatial", 3, 4)
    given: list[object] = []
    layer.register_forward_pre_hook(lambda _, args, named: given.extend([*args, *named.values()]), with_kwargs=True)
    x, state = make_input(layer), make_state(layer, 2, (4, 3))
    OutputOnly(layer)(x, state, sizes=SIZES[2], tile=(2, 1))
    assert given == [x, state, SIZES[2], (2, 1)]


class Twin(SpatialLSTM):
    """A class of somebody else's."""


def test_from_lstm_is_of_the_class_that_is_asked() -> None:
    found: Twin = Twin.from_lstm(nn.LSTM(3, 4, batch_first=True))  # which mypy checks
    assert type(found) is Twin
