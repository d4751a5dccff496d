"""Wrong input of every kind is refused with what was expected and what came."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.func import grad, vmap

from spatial_lstm import SpatialLSTM, SpatialLSTMCell, State, functional
from tests.cases import make_layer, make_state

OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"input_size": 0}, ValueError, "expected input_size to be positive, got 0"),
    ({"hidden_size": -1}, ValueError, "expected hidden_size to be positive, got -1"),
    ({"hidden_size": 2.0}, TypeError, "expected hidden_size to be an int, got float"),
    ({"num_layers": 0}, ValueError, "expected num_layers to be positive, got 0"),
    ({"num_layers": True}, TypeError, "expected num_layers to be an int, got bool"),
    ({"spatial_dims": 0}, ValueError, "expected spatial_dims to be positive, got 0"),
    ({"bias": None}, TypeError, "expected bias to be a bool, got NoneType"),
    ({"channels_last": "yes"}, TypeError, "expected channels_last to be a bool, got str"),
    ({"dropout": 1.5, "num_layers": 2}, ValueError, r"expected dropout in \[0, 1\], got 1.5"),
    ({"dropout": "half"}, TypeError, "expected dropout to be a float, got str"),
    ({"directions": "f"}, ValueError, "expected each direction to be 2 letters .* got 'f'"),
    ({"directions": "fx"}, ValueError, "got 'fx'"),
    ({"directions": ("ff", "ff")}, ValueError, "expected distinct directions, got"),
    ({"directions": ()}, ValueError, "expected at least one direction, got none"),
    ({"directions": 3}, TypeError, "expected directions to be None, 'all', .* got 3"),
    ({"directions": ("ff", 1)}, TypeError, "expected directions"),
    ({"cell": "lstm"}, ValueError, "expected cell to be one of .* got 'lstm'"),
    ({"peephole": True}, ValueError, "expected peepholes with cell='graves' alone, got cell='spatial'"),
    (
        {"extended": True, "cell": "stable"},
        ValueError,
        "expected extended=True with cell='spatial' alone, got cell='stable'",
    ),
    ({"merge": "max"}, ValueError, "expected merge to be one of .* got 'max'"),
    ({"backend": "cuda"}, ValueError, "expected backend to be one of .* got 'cuda'"),
    ({"forget_bias": "2"}, TypeError, "expected forget_bias to be a float or None, got str"),
    ({"forget_bias": 2.0, "bias": False}, ValueError, "expected forget_bias=None with bias=False, got 2.0"),
    ({"forget_bias": math.nan}, ValueError, "expected forget_bias to be finite, got nan"),
    ({"forget_bias": -math.inf}, ValueError, "expected forget_bias to be finite, got -inf"),
    ({"dtype": torch.complex64}, ValueError, "expected dtype to be one of torch.float16, .*, got torch.complex64"),
    ({"dtype": torch.int64}, ValueError, "expected dtype to be one of torch.float16, .*, got torch.int64"),
    ({"dtype": torch.float8_e4m3fn}, ValueError, "expected dtype to be one of .*, got torch.float8_e4m3fn"),
    ({"dtype": "float32"}, TypeError, "expected dtype to be a torch.dtype or None, got str"),
    ({"bias": np.bool_(True)}, TypeError, r"expected bias to be a bool, got numpy\.bool"),
    ({"cell": []}, ValueError, r"expected cell to be one of .* got \[\]"),
    ({"merge": {}}, ValueError, r"expected merge to be one of .* got \{\}"),
    ({"backend": np.array(["auto", "cpp"])}, ValueError, r"expected backend to be one of .* got array"),
    ({"saved_gates": []}, ValueError, r"expected saved_gates to be one of .* got \[\]"),
    ({"directions": [[]]}, TypeError, "expected directions to be None"),
    ({"directions": np.array(["ff", "fr"])}, TypeError, "expected directions to be None, 'all', .* got array"),
    ({"tile": (2, True)}, TypeError, r"expected tile\[1\] to be an int, got bool"),
]


@pytest.mark.parametrize(("options", "error", "message"), OPTIONS)
def test_options(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SpatialLSTM(**{"input_size": 3, "hidden_size": 4, **options})


CHANGED: list[tuple[str, Any, type[Exception], str]] = [
    *(
        (name, "no", TypeError, f"expected {name} to be a bool, got str")
        for name in ("bias", "channels_last", "recompute")
    ),
    ("peephole", 0, TypeError, "expected peephole to be a bool, got int"),
    ("extended", None, TypeError, "expected extended to be a bool, got NoneType"),
    ("dropout", "half", TypeError, "expected dropout to be a float, got str"),
    ("dropout", math.nan, ValueError, r"expected dropout in \[0, 1\], got nan"),
    ("hidden_size", 4.0, TypeError, "expected hidden_size to be an int, got float"),
    ("cell_type", [], ValueError, "expected cell to be one of"),
    ("merge", "max", ValueError, "expected merge to be one of"),
    ("backend", [], ValueError, "expected backend to be one of"),
    ("saved_gates", "float8", ValueError, "expected saved_gates to be one of"),
    ("directions", np.array(["ff", "fr"]), TypeError, "expected directions to be None"),
]


@pytest.mark.parametrize(("name", "value", "error", "message"), CHANGED)
def test_options_that_were_changed(name: str, value: object, error: type[Exception], message: str) -> None:
    layer = make_layer("spatial", 3, 4, 2)
    setattr(layer, name, value)
    with pytest.raises(error, match=message):
        layer(ones(1, 3, 2, 2))


@pytest.mark.parametrize("make", [SpatialLSTM, SpatialLSTMCell])
@pytest.mark.parametrize(("value", "error"), [("x", TypeError), (math.nan, ValueError)])
def test_a_forget_bias_that_was_changed(make: type[SpatialLSTM], value: Any, error: type[Exception]) -> None:
    module = make(3, 4)
    module.forget_bias = value
    with pytest.raises(error, match="expected forget_bias to be"):
        module.reset_parameters()


def test_ints_of_numpy_are_ints() -> None:
    layer = SpatialLSTM(np.int64(3), np.int32(4), np.uint8(2), spatial_dims=np.int64(2), tile=(np.int64(2), 3))
    found = layer.input_size, layer.hidden_size, layer.num_layers, layer.spatial_dims, *(layer.tile or ())
    assert found == (3, 4, 2, 2, 2, 3)
    assert {*map(type, found)} == {int}
    assert type(SpatialLSTMCell(np.int64(3), np.int64(4)).hidden_size) is int
    assert torch.equal(layer.cell(np.int64(1)).weight_hh, layer.weight_hh_l1)


@pytest.mark.parametrize(
    ("place", "name"), [(True, "bool"), (1.0, "float"), (None, "NoneType"), (torch.tensor(0), "torch.Tensor")]
)
def test_a_layer_of_a_stack_is_found_by_an_int(place: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"expected layer to be an int, got {name}"):
        make_layer("spatial", 3, 4, 2).cell(place)


def ones(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.ones(shape, dtype=dtype)


def nested(*rows: torch.Tensor) -> torch.Tensor:
    return torch.nested.nested_tensor(list(rows))


def face(*shape: int) -> State:
    return State((ones(*shape), None), (None, None))


INPUTS: list[tuple[Callable[[SpatialLSTM], Any], type[Exception], str]] = [
    (lambda layer: layer([1.0]), TypeError, "expected input to be a Tensor, got list"),
    (
        lambda layer: layer(ones(3, 4)),
        ValueError,
        r"expected input of shape \(N, C, \*S\) with 2 spatial axes.* got 2 dimensions",
    ),
    (lambda layer: layer(ones(1, 1, 3, 4, 4)), ValueError, "got 5 dimensions"),
    (lambda layer: layer(ones(2, 4, 4, 3)), ValueError, "expected 3 channels in dimension 1 .* got 4"),
    (lambda layer: layer(ones(4, 4, 3)), ValueError, "expected 3 channels in dimension 0 .* got 4"),
    (lambda layer: layer(ones(2, 3, 0, 4)), ValueError, r"expected positive spatial extents, got \[0, 4\]"),
    (
        lambda layer: layer(ones(2, 3, 4, 4, dtype=torch.float32)),
        ValueError,
        "dtype torch.float64, as the weights, got torch.float32",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 4, dtype=torch.int64)),
        ValueError,
        "expected input of dtype .* got torch.int64",
    ),
    (lambda layer: layer(ones(2, 3, 4, 4, dtype=torch.complex64)), ValueError, "got torch.complex64"),
    (
        lambda layer: layer(ones(2, 3, 4, 4).to("meta")),
        ValueError,
        "expected input on the weights' device cpu, got meta",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 4), ones(1)),
        TypeError,
        r"expected state to be a State\(h, c\) or None, got Tensor",
    ),
    (lambda layer: layer(ones(2, 3, 4, 4), (None,)), TypeError, "got tuple of length 1"),
    (
        lambda layer: layer(ones(2, 3, 4, 4), (ones(1), ones(1))),
        ValueError,
        "expected state.h to be a tuple of 2 faces, got Tensor",
    ),
    (lambda layer: layer(ones(2, 3, 4, 4), ((None,), (None, None))), ValueError, "got tuple of length 1"),
    (
        lambda layer: layer(ones(2, 3, 4, 4), ((1, None), (None, None))),
        TypeError,
        r"expected state.h\[0\] to be a Tensor or None, got int",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 5), face(1, 2, 4, 4)),
        ValueError,
        r"expected state.h\[0\] of shape \(1, 2, 4, 5\), got \(1, 2, 4, 4\)",
    ),
    (lambda layer: layer(ones(2, 3, 4, 5), face(2, 2, 4, 5)), ValueError, r"shape \(1, 2, 4, 5\), got \(2, 2, 4, 5\)"),
    (lambda layer: layer(ones(3, 4, 5), face(1, 1, 4, 5)), ValueError, r"shape \(1, 4, 5\), got \(1, 1, 4, 5\)"),
    (
        lambda layer: layer(ones(2, 3, 4, 5), State((ones(1, 2, 4, 5).float(), None), (None, None))),
        ValueError,
        r"expected state.h\[0\] of dtype torch.float64 .* got torch.float32",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 5), State((ones(1, 2, 4, 5).to("meta"), None), (None, None))),
        ValueError,
        r"expected state.h\[0\] on the weights' device cpu, got meta",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 5), sizes=[[1, 2], [3]]),
        TypeError,
        "expected sizes to be a Tensor or a sequence of integers",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 5), sizes=[[1, 2], [3, 4.5]]),
        TypeError,
        "expected sizes to be integers, got torch.float32",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 5), sizes=7),
        TypeError,
        "expected sizes to be an integer Tensor or a sequence of integers, got int",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 5), sizes=ones(2, 2)),
        TypeError,
        "expected sizes to be integers, got torch.float64",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 5), sizes=torch.ones(2, dtype=torch.int64)),
        ValueError,
        r"expected sizes of shape \(2, 2\), got \(2,\)",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 5), sizes=torch.tensor([[4, 5], [5, 5]])),
        ValueError,
        "expected sizes from 1 .* got",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 5), sizes=torch.tensor([[4, 5], [0, 5]])),
        ValueError,
        "expected sizes from 1 .* got",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 5), sizes=[(4, 5), (True, 3)]),
        TypeError,
        "expected sizes to be a Tensor or a sequence of integers",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 5), sizes=[[4, 5], torch.tensor([True, True])]),
        TypeError,
        "expected sizes to be a Tensor or a sequence of integers",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 5), sizes=torch.tensor([[4, 5], [2, 3]]).to_sparse()),
        ValueError,
        r"expected sizes to be dense \(torch.strided\), got torch.sparse_coo",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 5), sizes=nested(torch.tensor([4, 5]), torch.tensor([2, 3]))),
        ValueError,
        "expected sizes to be dense .* got a nested tensor",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 5), sizes=torch.ones(2, 2, dtype=torch.int64, device="meta")),
        ValueError,
        "expected sizes whose values are known, .* got a tensor on the meta device",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 5), sizes=torch.tensor([[4, 5], [2, 2**64 - 1]], dtype=torch.uint64)),
        ValueError,
        r"expected sizes from 1 to the batch's extents \(4, 5\), got \[\[4, 5\], \[2, 18446744073709551615\]\]",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 5), face(1, 2, 4, 5).h[0].to_sparse()),
        TypeError,
        "expected state to be a State",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 5), State((ones(1, 2, 4, 5).to_sparse(), None), (None, None))),
        ValueError,
        r"expected state.h\[0\] to be dense \(torch.strided\), got torch.sparse_coo",
    ),
    (
        lambda layer: layer(ones(2, 3, 4, 5), State((nested(ones(2, 4, 5)), None), (None, None))),
        ValueError,
        r"expected state.h\[0\] to be dense .* got a nested tensor",
    ),
]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(("call", "error", "message"), INPUTS)
def test_inputs(call: Callable[[SpatialLSTM], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(make_layer("spatial", 3, 4))


FUNCTIONAL: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"weight_hh": ones(7, 3)}, ValueError, "expected weight_hh of shape .* got"),
    ({"weight_hh": None}, TypeError, "expected weight_hh to be a Tensor, got NoneType"),
    ({"weight_ih": 1.0}, TypeError, "expected weight_ih to be a Tensor, got float"),
    ({"weight_ih": ones(10, 3, 1)}, ValueError, "expected weight_ih of shape"),
    ({"weight_ih": ones(5, 3)}, ValueError, r"expected weight_ih of shape \(1, 10, 3\), got \(1, 5, 3\)"),
    ({"bias": ones(5)}, ValueError, r"expected bias of shape \(1, 10\), got \(1, 5\)"),
    ({"bias": ones(10).float()}, ValueError, "expected bias of dtype torch.float64, as the weights, got torch.float32"),
    ({"directions": "all"}, ValueError, r"expected weight_ih of shape \(4, 10, 3\)"),
    ({"weight_peephole": ones(5, 2)}, ValueError, "expected peepholes with cell='graves' alone"),
    ({"cell": "graves", "weight_peephole": ones(4, 2)}, ValueError, r"expected weight_peephole of shape \(1, 5, 2\)"),
    ({"cell": "graves", "weight_ch": ones(10, 4)}, ValueError, "expected extended=True with cell='spatial' alone"),
    ({"channels_last": "no"}, TypeError, "expected channels_last to be a bool, got str"),
    ({"recompute": "no"}, TypeError, "expected recompute to be a bool, got str"),
    ({"weight_ih": ones(10, 3).to_sparse()}, ValueError, "expected weight_ih to be dense .* got torch.sparse_coo"),
    ({"weight_hh": ones(10, 4).to_sparse()}, ValueError, "expected weight_hh to be dense .* got torch.sparse_coo"),
]


@pytest.mark.parametrize(("options", "error", "message"), FUNCTIONAL)
def test_functional(options: dict[str, Any], error: type[Exception], message: str) -> None:
    call = {"input": ones(1, 3, 4, 4), "weight_ih": ones(10, 3), "weight_hh": ones(10, 4), **options}
    with pytest.raises(error, match=message):
        functional.spatial_lstm(**call)


def test_cell() -> None:
    cell = SpatialLSTMCell(3, 4)
    with pytest.raises(ValueError, match=r"expected x of shape \(N, 3\) or \(3,\), got \(2, 4\)"):
        cell(torch.ones(2, 4))
    with pytest.raises(ValueError, match="expected x of dtype torch.float32, as the weights, got torch.float64"):
        cell(ones(2, 3))
    with pytest.raises(TypeError, match="expected x to be a Tensor, got list"):
        cell([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="expected x to be dense .* got torch.sparse_coo"):
        cell(torch.ones(2, 3).to_sparse())
    with pytest.raises(ValueError, match="expected dtype to be one of .*, got torch.complex64"):
        SpatialLSTMCell(3, 4, dtype=torch.complex64)
    pair = (torch.ones(2, 4), torch.ones(2, 4))
    with pytest.raises(
        ValueError, match=r"expected predecessors to be a tuple of 2 pairs \(h, c\), got tuple of length 1"
    ):
        cell(torch.ones(2, 3), (pair,))
    with pytest.raises(ValueError, match=r"expected predecessors\[1\] to be a pair .* got Tensor"):
        cell(torch.ones(2, 3), (pair, torch.ones(3)))
    with pytest.raises(ValueError, match=r"expected predecessors\[0\]\[1\] of shape \(2, 4\), got \(4,\)"):
        cell(torch.ones(2, 3), ((torch.ones(2, 4), torch.ones(4)), pair))


def test_options_of_a_cell_that_were_changed() -> None:
    cell = SpatialLSTMCell(3, 4, cell="graves", peephole=True)
    cell.cell_type = "spatial"
    with pytest.raises(ValueError, match="expected peepholes with cell='graves' alone, got cell='spatial'"):
        cell(torch.ones(2, 3))
    cell.cell_type, cell.spatial_dims = "graves", 2.0  # type: ignore[assignment]
    with pytest.raises(TypeError, match="expected spatial_dims to be an int, got float"):
        cell(torch.ones(2, 3))


def test_sizes_that_vmap_maps_over() -> None:
    layer, x = SpatialLSTM(3, 4), torch.randn(3, 2, 3, 4, 5)
    sizes = torch.tensor([[[4, 5], [2, 3]]] * 3)
    for call in (lambda x, s: layer(x, sizes=s)[0], grad(lambda x, s: layer(x, sizes=s)[0].sum())):
        with pytest.raises(ValueError, match="the same in every entry of a vmap, got a tensor that vmap maps over"):
            vmap(call)(x, sizes)
        assert vmap(call, (0, None))(x, sizes[0]).shape[0] == 3


def test_state_of_a_stack() -> None:
    layer = make_layer("graves", 3, 4, 2, directions="all")
    with pytest.raises(ValueError, match=r"expected state.h\[0\] of shape \(8, 2, 4, 5\), got \(4, 2, 4, 5\)"):
        layer(ones(2, 3, 6, 5), make_state(make_layer("graves", 3, 4, directions="all"), 2, (6, 5)))
