"""Nothing unchecked reaches a kernel: whatever put a weight, an option or a table there, it fits or is refused with words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrizations, parametrize

from spatial_lstm import SpatialLSTM, SpatialLSTMCell
from spatial_lstm.engine import compute, operator
from spatial_lstm.engine.compute import Options
from spatial_lstm.engine.tensors import Gradients, Tensors, Weights
from spatial_lstm.image_models import RIDE
from spatial_lstm.image_models.mcgsm import MCGSM
from spatial_lstm.image_models.pixelrnn.layers import RowLSTM
from tests.cases import assert_close, gradients, make_input, make_layer

X = torch.randn(2, 3, 4, 5)


def replace(name: str, change: Callable[[Tensor], Any]) -> Callable[[SpatialLSTM], None]:
    """A change of a parameter's data, and so of the parameter."""

    def apply(layer: SpatialLSTM) -> None:
        setattr(layer, name, nn.Parameter(change(getattr(layer, name).detach())))

    return apply


def assign(name: str, value: object) -> Callable[[SpatialLSTM], None]:
    return lambda layer: setattr(layer, name, value)


WEIGHTS: dict[str, tuple[Callable[[SpatialLSTM], None], str]] = {
    "dtype": (
        replace("bias_l0", Tensor.double),
        "expected bias_l0 of dtype torch.float32, as the weights, got torch.float64",
    ),
    "16 bits": (
        replace("weight_hh_l0", Tensor.bfloat16),
        "expected weight_hh_l0 of dtype torch.float32, .* got torch.bfloat16",
    ),
    "device": (
        replace("weight_hh_l0", lambda w: w.to("meta")),
        "expected weight_hh_l0 on the weights' device cpu, got meta",
    ),
    "rows": (replace("bias_l0", lambda w: w[:-4]), r"expected bias_l0 of shape \(20,\), got \(16,\)"),
    "columns": (
        replace("weight_ih_l0", lambda w: w[:, :2]),
        r"expected weight_ih_l0 of shape \(20, 3\), got \(20, 2\)",
    ),
    "rank": (replace("weight_hh_l0", lambda w: w[None]), r"expected weight_hh_l0 of shape \(20, 8\), got \(1, 20, 8\)"),
    "sparse": (replace("weight_ih_l0", Tensor.to_sparse), "expected weight_ih_l0 to be dense"),
    "in a later layer": (replace("weight_hh_l1", Tensor.double), "expected weight_hh_l1 of dtype torch.float32"),
    "removed": (
        lambda layer: delattr(layer, "bias_l0"),
        "expected a parameter bias_l0, as SpatialLSTM.* asks for, got none",
    ),
    "directions": (
        assign("directions", ("ff", "fr")),
        "expected a parameter weight_ih_l0_fr, as .* asks for, got none",
    ),
    "unknown direction": (assign("directions", "fx"), "expected each direction to be 2 letters"),
    "merge": (assign("merge", "median"), "expected merge to be one of"),
    "layers": (assign("num_layers", 3), "expected a parameter weight_ih_l2"),
    "no layers": (assign("num_layers", 0), "expected num_layers to be positive, got 0"),
    "hidden size": (assign("hidden_size", 5), r"expected weight_ih_l0 of shape \(25, 3\), got \(20, 3\)"),
    "input size": (assign("input_size", 4), r"expected weight_ih_l0 of shape \(20, 4\), got \(20, 3\)"),
    "axes": (assign("spatial_dims", 3), "expected each direction to be 3 letters"),
    "cell of other gates": (
        assign("cell_type", "diagonal"),
        r"expected weight_ih_l0 of shape \(16, 3\), got \(20, 3\)",
    ),
    "unknown cell": (assign("cell_type", "gru"), "expected cell to be one of"),
    "extended": (assign("extended", True), "expected a parameter weight_ch_l0"),
    "peephole": (assign("peephole", True), "expected peepholes with cell='graves' alone"),
    "backend": (assign("backend", "fast"), "expected backend to be one of"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_a_weight_that_does_not_fit_is_refused(case: str) -> None:
    change, message = WEIGHTS[case]
    layer = SpatialLSTM(3, 4, 2)
    change(layer)
    with pytest.raises(ValueError, match=message):
        layer(X)


@pytest.mark.parametrize("value", [None, [0.0] * 20, 1.0])
def test_what_is_no_tensor_is_refused(value: object) -> None:
    layer = SpatialLSTM(3, 4)
    del layer.bias_l0
    layer.bias_l0 = value  # type: ignore[assignment]
    with pytest.raises(TypeError, match="expected bias_l0 to be a Tensor, got"):
        layer(X)


def test_a_stack_that_merges_otherwise_than_it_was_made_is_refused() -> None:
    layer = SpatialLSTM(3, 4, 2, directions="all")
    layer.merge = "sum"
    with pytest.raises(ValueError, match=r"expected weight_ih_l1 of shape \(20, 4\), got \(20, 16\)"):
        layer(X)


def test_options_that_the_weights_allow_are_followed() -> None:
    layer, twin = SpatialLSTM(3, 4, cell="graves"), SpatialLSTM(3, 4)
    twin.load_state_dict(layer.state_dict())
    twin.cell_type = "graves"
    assert torch.equal(layer(X)[0], twin(X)[0])
    twin.directions = "ff"  # type: ignore[assignment]
    assert torch.equal(layer(X)[0], twin(X)[0])


def test_functional_call_is_checked() -> None:
    layer = SpatialLSTM(3, 4)
    with pytest.raises(ValueError, match=r"expected bias_l0 of shape \(20,\), got \(16,\)"):
        functional_call(layer, {"bias_l0": torch.zeros(16)}, (X,))
    expected = layer(X)[0]
    layer.bias_l0.data.fill_(3.0)
    found = functional_call(layer, {"bias_l0": SpatialLSTM(3, 4).bias_l0}, (X,))[0]
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "change", [lambda w: w.t().contiguous().t(), lambda w: torch._neg_view(-w), lambda w: w[::1].expand_as(w)]
)
def test_weights_of_any_strides(change: Callable[[Tensor], Tensor]) -> None:
    """And those whose memory holds something else, as a lazy negation's does."""
    layer = make_layer("spatial", 3, 4)
    x = make_input(layer)
    results = []
    for weight in (layer.weight_hh_l0.detach(), change(layer.weight_hh_l0.detach())):
        weight = weight.requires_grad_()
        output = functional_call(layer, {"weight_hh_l0": weight}, (x,))[0]
        results.append([output, *gradients([output], [x, weight])])
    assert_close(results[1], results[0])


class Low(nn.Module):
    """A float32 addition to a weight of any type."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight + torch.zeros(weight.shape)


class Broken(nn.Module):
    """Fails in the way that looks like an attribute that is not there."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight.no_such_attribute  # type: ignore[attr-defined, no-any-return]


def test_a_parametrization_of_another_type() -> None:
    layer = SpatialLSTM(3, 4).bfloat16()
    parametrize.register_parametrization(layer, "weight_hh_l0", Low(), unsafe=True)
    with pytest.raises(
        ValueError, match="expected weight_hh_l0 of dtype torch.bfloat16, as the weights, got torch.float32"
    ):
        layer(X.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(X.bfloat16())[0].dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["weight_ih_l1", "weight_hh_l0", "bias_l0"])
@pytest.mark.parametrize("change", [Tensor.double, lambda w: w.to("meta")], ids=["float64", "meta"])
def test_autocast_leaves_no_weight_unlike_the_others(name: str, change: Callable[[Tensor], Tensor]) -> None:
    layer = SpatialLSTM(3, 4, 2)
    replace(name, change)(layer)
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(ValueError, match="expected .* as the weights|device"):
        layer(X)


def test_directions_assigned_as_one_string() -> None:
    """The layer above reads as many directions as there are, not letters."""
    layer = SpatialLSTM(3, 4, 2)
    expected = layer(X)[0]
    layer.directions = "ff"  # type: ignore[assignment]
    assert torch.equal(layer(X)[0], expected)


def test_a_parametrization_that_fails_is_not_a_parameter_that_is_not_there() -> None:
    layer = SpatialLSTM(3, 4)
    parametrize.register_parametrization(layer, "bias_l0", Broken(), unsafe=True)
    with pytest.raises(AttributeError, match="no_such_attribute"):
        layer(X)


def test_a_parametrized_weight_is_computed_once() -> None:
    calls = []

    class Counting(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            calls.append(weight)
            return weight

    layer, cell = SpatialLSTM(3, 4), SpatialLSTMCell(3, 4)
    for module, name, run in ((layer, "bias_l0", lambda: layer(X)), (cell, "bias", lambda: cell(torch.zeros(3)))):
        parametrize.register_parametrization(module, name, Counting())
        calls.clear()
        run()
        assert len(calls) == 1


def test_reset_parameters_goes_through_parametrizations_or_refuses() -> None:
    layer = SpatialLSTM(3, 4)
    parametrizations.weight_norm(layer, "weight_hh_l0")
    nn.init.constant_(layer.parametrizations.weight_hh_l0.original0, 100.0)
    layer.reset_parameters()
    assert layer.weight_hh_l0.abs().max() <= 0.25 / 2 + 1e-6
    parametrize.register_parametrization(layer, "bias_l0", Low())
    with pytest.raises(RuntimeError, match="right_inverse"):
        layer.reset_parameters()
    with pytest.raises(RuntimeError, match="expected weight_hh to be a Parameter to draw anew"):
        layer.cell().reset_parameters()
    SpatialLSTM(3, 4, bias=False).cell().reset_parameters()


WITH_STARTS: dict[str, Callable[[], nn.Module]] = {
    "layer": lambda: SpatialLSTM(3, 4, 2, directions="all"),
    "peephole": lambda: SpatialLSTM(3, 4, cell="graves", peephole=True, forget_bias=1.0),
    "cell": lambda: SpatialLSTMCell(3, 4, cell="stable", extended=False),
    "RIDE": lambda: RIDE(1, hidden_size=4, components=2, scales=2, features=2),
    "MCGSM": lambda: MCGSM(3, 3, 2, 2, 2),
    "RowLSTM": lambda: RowLSTM(3, 4),
}


@pytest.mark.parametrize("case", WITH_STARTS)
def test_reset_parameters_goes_by_the_functions_of_init(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which programs that load weights replace, so that what they have loaded is not drawn anew."""
    module = WITH_STARTS[case]()
    expected = {name: torch.full_like(parameter, 7.0) for name, parameter in module.named_parameters()}
    module.load_state_dict(expected, strict=False)
    for name in [name for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")]:
        monkeypatch.setattr(nn.init, name, lambda tensor, *args, **kwargs: tensor)
    module.reset_parameters()  # type: ignore[operator]
    assert all(torch.equal(parameter, expected[name]) for name, parameter in module.named_parameters())


def test_a_cell_checks_its_own() -> None:
    cell = SpatialLSTMCell(3, 4)
    cell.bias = nn.Parameter(torch.zeros(16))
    with pytest.raises(ValueError, match=r"expected bias of shape \(20,\), got \(16,\)"):
        cell(torch.zeros(2, 3))
    with pytest.raises(TypeError, match="expected bias to be a bool, got str"):
        SpatialLSTMCell(3, 4, bias="no")  # type: ignore[arg-type]


def given(**changes: Tensor) -> Tensors:
    torch.manual_seed(0)
    draw = torch.randn
    return Tensors(draw(2, 4, 3, 3), draw(1, 20, 3), draw(1, 20, 8), bias=draw(1, 20))._replace(**changes)


BELOW: dict[str, tuple[Tensors, Options, str]] = {
    "weight_ih": (
        given(weight_ih=torch.zeros(1, 16, 3)),
        Options(None, "ff", "spatial", "auto"),
        "expected weight_ih of shape",
    ),
    "weight_hh": (
        given(weight_hh=torch.zeros(20, 8)),
        Options(None, "ff", "spatial", "auto"),
        "expected weight_hh of shape",
    ),
    "bias": (given(bias=torch.zeros(1, 20).double()), Options(None, "ff", "spatial", "auto"), "expected bias of dtype"),
    "h0": (
        given(h0=torch.zeros(1, 2, 4)),
        Options(None, "ff", "spatial", "auto"),
        r"expected h0 of shape \(1, 14, 4\)",
    ),
    "c0": (given(c0=torch.zeros(1, 14, 4).double()), Options(None, "ff", "spatial", "auto"), "expected c0 of dtype"),
    "x": (given(x=torch.zeros(2, 3)), Options(None, "ff", "spatial", "auto"), "expected x of shape"),
    "cell": (given(), Options(None, "ff", "diagonal", "auto"), "for cell 'diagonal', 2 axes and 4 features"),
    "directions": (given(), Options(None, "ff,fr", "spatial", "auto"), r"expected weight_ih of shape \(2, 20, 3\)"),
    "letters": (given(), Options(None, "fx", "spatial", "auto"), "expected each direction"),
    "sizes": (
        given(),
        Options(torch.ones(2, 1, dtype=torch.int64), "ff", "spatial", "auto"),
        "expected sizes of shape",
    ),
    "float sizes": (given(), Options(torch.ones(2, 2), "ff", "spatial", "auto"), "expected sizes of shape"),
    "peephole": (
        given(weight_peephole=torch.zeros(1, 5, 4)),
        Options(None, "ff", "spatial", "auto"),
        "expected no weight_peephole",
    ),
    "kernel": (given(), Options(None, "ff", "spatial", "fast"), "expected a kernel"),
}


@pytest.mark.parametrize("case", BELOW)
def test_the_operators_check_for_themselves(case: str) -> None:
    """As exported programs call them with whatever weights they are given."""
    tensors, options, message = BELOW[case]
    present = tensors.present()
    with pytest.raises(ValueError, match=message):
        torch.ops.spatial_lstm.forward(list(present.values()), ",".join(present), *options, "gates", 24, 14)


@pytest.mark.parametrize("place", range(6))
def test_the_backward_checks_its_tables(place: int) -> None:
    tensors, options = given(), Options(None, "ff", "spatial", "auto")
    output, far_h, far_c, c, gates = compute.forward(tensors, options, "gates")
    tables = [output, far_h, far_c, output, c, gates]
    tables[place] = tables[place][..., :-1]
    with pytest.raises((ValueError, RuntimeError)):
        compute.backward(tensors, options, tables[:3], tables[3:], ["x"])


def test_names_of_tensors_gradients_and_weights_agree() -> None:
    assert Gradients._fields == Tensors._fields
    assert Tensors._fields[1:-2] == Weights._fields


def test_tables_are_not_cut_by_a_program_traced_for_less() -> None:
    layer = make_layer("spatial", 3, 4)
    tensors = Tensors(make_input(layer, 1, (3, 3)).movedim(1, -1), layer.weight_ih_l0, layer.weight_hh_l0)
    present = tensors.with_directions().present()
    with pytest.raises(
        ValueError, match="expected no more sites than this program was traced with, tables of 8 rows, got 15"
    ):
        operator.forward(list(present.values()), ",".join(present), None, "ff", "spatial", "plain", "gates", 4, 4)
