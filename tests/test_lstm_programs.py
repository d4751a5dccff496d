"""What people bring from programs with :class:`torch.nn.LSTM` and :class:`torch.nn.Conv2d`: it works, or says what to write instead."""

from __future__ import annotations

import io
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, rnn
from torch.utils.flop_counter import FlopCounterMode

from spatial_lstm import OutputOnly, SpatialLSTM, State
from tests.cases import VARIANTS, assert_close, faces, make_input, make_layer, make_state


def make_lstm(**options: Any) -> nn.LSTM:
    return nn.LSTM(3, 4, **{"batch_first": True, "dtype": torch.float64, **options})


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_there_and_back(num_layers: int, bias: bool, bidirectional: bool) -> None:
    lstm = make_lstm(num_layers=num_layers, bias=bias, bidirectional=bidirectional).eval()
    layer = SpatialLSTM.from_lstm(lstm)
    back = layer.to_lstm()
    assert not layer.training
    assert not back.training
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    expected, (h, c) = lstm(x)
    output, state = layer(x)
    again, (h_again, c_again) = back(x)
    assert_close([output, *faces(state)], [expected, h.movedim(0, 0), c])
    assert_close([again, h_again, c_again], [expected, h, c])
    assert (layer.batch_first, layer.bidirectional) == (True, bidirectional)
    layer.flatten_parameters()


@pytest.mark.parametrize("cell", ["graves", "stable", "diagonal"])
def test_cells_that_are_lstms(cell: str) -> None:
    layer = make_layer(cell, 3, 4, 2, spatial_dims=1, directions="all", channels_last=True)
    x = make_input(layer, 2, (6,))
    assert_close([layer.to_lstm()(x)[0]], [layer(x)[0]])


def test_frozen_weights_stay_frozen_and_parametrized_ones_are_read() -> None:
    lstm = make_lstm()
    lstm.weight_ih_l0.requires_grad_(False)
    lstm.bias_hh_l0.requires_grad_(False)
    parametrizations.weight_norm(lstm, "weight_hh_l0")
    layer = SpatialLSTM.from_lstm(lstm)
    assert {name: p.requires_grad for name, p in layer.named_parameters()} == {
        "weight_ih_l0": False,
        "weight_hh_l0": True,
        "bias_l0": True,
    }
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    assert_close([layer(x)[0]], [lstm(x)[0]])
    assert not layer.to_lstm().weight_ih_l0.requires_grad


def test_the_other_layout_is_told() -> None:
    with pytest.warns(UserWarning, match=r"takes \(L, N, C\), as batch_first=False; the new layer takes \(N, L, C\)"):
        SpatialLSTM.from_lstm(make_lstm(batch_first=False))
    with pytest.warns(UserWarning, match=r"the new layer takes \(N, C, L\)"):
        SpatialLSTM.from_lstm(make_lstm(batch_first=False), channels_last=False)


@pytest.mark.parametrize(
    "options",
    [
        {"spatial_dims": 2},
        {"cell": "spatial"},
        {"cell": "graves", "peephole": True},
        {"directions": "r"},
        {"directions": ("r", "f")},
        {"directions": "all", "merge": "sum"},
    ],
)
def test_what_no_lstm_computes(options: dict[str, Any]) -> None:
    layer = SpatialLSTM(3, 4, **{"spatial_dims": 1, "cell": "graves", **options})
    with pytest.raises(ValueError, match="expected one axis and a cell that is an LSTM|expected directions 'f'"):
        layer.to_lstm()


def test_packed_sequences_are_told_of_sizes() -> None:
    layer = make_layer("graves", 3, 4, spatial_dims=1, channels_last=True)
    sequences = [torch.randn(4, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)]
    packed = rnn.pack_sequence(sequences)
    with pytest.raises(TypeError, match="got a PackedSequence: unpack it, .* sizes=lengths"):
        layer(packed)
    x, lengths = rnn.pad_packed_sequence(packed, batch_first=True)
    expected, _ = layer(sequences[1][None])
    for sizes in (lengths, [4, 2], (4, 2), [[4], [2]], lengths[:, None]):
        output, _ = layer(x, sizes=sizes)
        assert_close([output[1:, :2]], [expected])
        assert not output[1, 2:].any()


def test_sizes_as_sequences() -> None:
    layer = make_layer("spatial", 3, 4)
    x = make_input(layer, 2, (4, 5))
    expected = layer(x, sizes=torch.tensor([[4, 1], [2, 5]]))[0]
    for sizes in ([[4, 1], [2, 5]], ((4, 1), (2, 5)), [torch.Size([4, 1]), (2, 5)]):
        assert torch.equal(layer(x, sizes=sizes)[0], expected)
    assert torch.equal(layer(x[0], sizes=[4, 1])[0], expected[0])
    assert layer(x[:0], sizes=[])[0].shape == (0, 4, 4, 5)


def test_sparse_and_nested_input_is_told_what_to_do() -> None:
    layer = SpatialLSTM(3, 4)
    with pytest.raises(ValueError, match=r"got torch.sparse_coo: convert it with to_dense\(\)"):
        layer(torch.zeros(2, 3, 4, 5).to_sparse())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested tensors are a prototype
        nested = torch.nested.nested_tensor([torch.zeros(3, 4, 5), torch.zeros(3, 2, 2)])
        jagged = torch.nested.nested_tensor([torch.zeros(4, 3), torch.zeros(2, 3)], layout=torch.jagged)
    for each in (nested, jagged):
        with pytest.raises(ValueError, match="got a nested tensor: pad it"):
            layer(each)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_memory_format_of_the_output(n: int) -> None:
    """As documented: channels last, whatever the input's is."""
    layer = make_layer("spatial", 3, 4, spatial_dims=n, directions="all")
    x = make_input(layer, 2)
    output, _ = layer(x)
    found, _ = layer(x.detach().movedim(1, -1).contiguous().movedim(-1, 1))
    for each in (output, found):
        assert each.movedim(1, -1).is_contiguous()
        assert each.flatten(1).shape == (2, output[0].numel())
    assert_close([found], [output])


def test_in_a_sequential() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3),
        OutputOnly(SpatialLSTM(3, 4, directions="all")),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 24, 2),
    )
    assert network(torch.zeros(2, 1, 8, 6)).shape == (2, 2)
    assert set(network.state_dict()) >= {"1.layer.weight_ih_l0"}
    with pytest.raises(TypeError, match="expected a SpatialLSTM, got Conv2d"):
        OutputOnly(nn.Conv2d(1, 1, 1))  # type: ignore[arg-type]


def test_state_travels() -> None:
    layer = make_layer("graves", 3, 4, directions="all")
    x, near = make_input(layer), make_state(layer, 2, (4, 3))
    _, far = layer(x, near)
    assert all(not face.requires_grad for face in faces(far.detach()))
    moved = far.along(1).to(torch.float32)
    assert moved.h[0] is None
    assert moved.h[1] is not None
    assert moved.c[1] is not None
    assert (moved.h[1].dtype, moved.c[1].dtype) == (torch.float32, torch.float32)
    assert far.along(-1).c == far.along(1).c
    with pytest.raises(IndexError, match=r"expected axis in -2 \.\. 1, got 2"):
        far.along(2)
    file = io.BytesIO()
    torch.save(far.detach(), file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert isinstance(loaded, State)
    assert all(torch.equal(a, b) for a, b in zip(faces(loaded), faces(far), strict=True))


def test_along_is_what_the_next_tile_takes() -> None:
    layer = make_layer("spatial", 3, 4)
    x = make_input(layer, 2, (4, 6))
    left, right = x.split(3, dim=3)
    _, mid = layer(left)
    assert_close([layer(right, mid.along(1))[0]], [layer(x)[0][..., 3:]])


@pytest.mark.support("`FlopCounterMode`")
@pytest.mark.parametrize("variant", VARIANTS)
def test_flops(variant: str) -> None:
    """By formula for the operators, by torch's own counting of products for the composite."""
    layer = make_layer(variant, 3, 4, directions=("ff", "rf"))
    x = make_input(layer, 2, (4, 5))
    sites, rows = 2 * 4 * 5, len(layer.weight_hh_l0)
    columns = 3 + 8 * (2 if layer.extended else 1)
    with FlopCounterMode(display=False) as counter:
        output, _ = layer(x)
        once = counter.get_total_flops()
        output.sum().backward()
    assert once == 2 * 2 * sites * rows * columns
    assert counter.get_total_flops() == 3 * once
    layer.backend = "composite"
    with FlopCounterMode(display=False) as counter:
        layer(x)
    assert counter.get_total_flops() == once


def test_flops_of_what_is_wanted_and_of_padding() -> None:
    layer = make_layer("spatial", 3, 4, recompute=True)
    x = make_input(layer, 2, (4, 5), grad=False)
    layer.weight_hh_l0.requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        output, _ = layer(x, sizes=[[2, 2], [1, 1]])
        output.sum().backward()
    product = 2 * 5 * 20
    assert counter.get_total_flops() == product * (11 + 8 + 3 + 11)  # forward; back to states; weight_ih; gates anew


@pytest.mark.support("Batched vector-Jacobian products: `is_grads_batched`, `vectorize=True`")
@pytest.mark.parametrize("variant", VARIANTS)
def test_batched_vector_jacobian_products(variant: str) -> None:
    layer = make_layer(variant, 2, 2, directions=("ff", "rf"))
    x = make_input(layer, 1, (2, 3))
    inputs: list[Tensor] = [x, *layer.parameters()]
    output, _ = layer(x)
    grads = torch.randn(3, *output.shape, dtype=x.dtype)
    found = torch.autograd.grad(output, inputs, grads, is_grads_batched=True, retain_graph=True)
    single = [torch.autograd.grad(output, inputs, grad, retain_graph=True) for grad in grads]
    assert_close(found, [torch.stack(same) for same in zip(*single, strict=True)])
    by_func = torch.vmap(lambda grad: torch.autograd.grad(output, inputs, grad, retain_graph=True))(grads)
    assert_close(by_func, found)
    for strategy in ("reverse-mode", "forward-mode"):
        jacobian = torch.autograd.functional.jacobian(lambda x: layer(x)[0], x, vectorize=True, strategy=strategy)
        assert_close([jacobian], [torch.autograd.functional.jacobian(lambda x: layer(x)[0], x)])

    def loss(x: Tensor) -> Tensor:
        return layer(x)[0].pow(2).sum()

    found_hessian, expected_hessian = (
        torch.autograd.functional.hessian(loss, x, vectorize=vectorize) for vectorize in (True, False)
    )
    assert_close([found_hessian], [expected_hessian])


def test_a_tangent_that_meets_a_recorded_graph_is_not_lost() -> None:
    """Forward over reverse, by hand: the graph was recorded before the forward-mode level was opened."""
    layer = make_layer("spatial", 2, 2)
    x = make_input(layer, 1, (2, 3))
    output, _ = layer(x)
    grad, tangent = torch.randn(2, *output.shape, dtype=x.dtype).unbind()
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(grad, tangent)
        (found,) = torch.autograd.grad(output, x, dual, retain_graph=True)
        found_tangent = torch.autograd.forward_ad.unpack_dual(found).tangent
    assert found_tangent is not None
    assert_close([found_tangent], list(torch.autograd.grad(output, x, tangent)))
