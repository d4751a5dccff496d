"""SpatialLSTM: what the contract promises of shapes, parameters, layouts, types and copies."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from spatial_lstm import SpatialLSTM, SpatialLSTMCell, State
from tests.cases import EXTENTS, VARIANTS, assert_close, faces, make_input, make_layer, make_state


def expected_channels(layer: SpatialLSTM) -> int:
    return layer.hidden_size * (len(layer.directions) if layer.merge == "concat" else 1)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("merge", ["concat", "sum", "mean"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_shapes(n: int, merge: str, channels_last: bool) -> None:
    directions = "all" if n < 4 else ("ffff", "rfrf")
    options = {"spatial_dims": n, "directions": directions, "merge": merge, "channels_last": channels_last}
    layer = make_layer("spatial", 3, 4, 2, **options)
    extents = EXTENTS[n]
    output, state = layer(make_input(layer))
    features = expected_channels(layer)
    assert output.shape == ((2, *extents, features) if channels_last else (2, features, *extents))
    rows = 2 * len(layer.directions)
    for group in state:
        assert [face.shape for face in group] == [(rows, 2, 4, *extents[:k], *extents[k + 1 :]) for k in range(n)]


def test_merges_and_order_of_directions() -> None:
    layer = make_layer("spatial", 3, 4, directions=("rf", "ff", "rr"))
    x = make_input(layer)
    parts = layer(x)[0].split(4, dim=1)
    for part, direction in zip(parts, layer.directions, strict=True):
        single = SpatialLSTM(3, 4, directions=direction, dtype=torch.float64)
        suffix = "" if direction == "ff" else f"_{direction}"
        single.load_state_dict(
            {
                name: p
                for name, p in layer.named_parameters()
                if name.removeprefix(name[: name.index("l0") + 2]) == suffix
            }
        )
        assert_close([part], [single(x)[0]])
    for merge, merged in (("sum", sum(parts)), ("mean", sum(parts) / 3)):
        layer.merge = merge
        assert isinstance(merged, Tensor)
        assert_close([layer(x)[0]], [merged])


def test_parameter_names_and_shapes() -> None:
    layer = SpatialLSTM(3, 4, 2, directions=("ff", "fr"), cell="graves", peephole=True)
    shapes = {name: tuple(p.shape) for name, p in layer.named_parameters()}
    for d in ("", "_fr"):
        assert shapes[f"weight_ih_l0{d}"] == (20, 3)
        assert shapes[f"weight_ih_l1{d}"] == (20, 8)
        assert shapes[f"weight_hh_l1{d}"] == (20, 8)
        assert shapes[f"bias_l0{d}"] == (20,)
        assert shapes[f"weight_peephole_l0{d}"] == (5, 4)
    assert len(shapes) == 16
    names = {name for name, _ in SpatialLSTM(3, 4, spatial_dims=1, directions="all").named_parameters()}
    assert names == {f"{w}_l0{d}" for w in ("weight_ih", "weight_hh", "bias") for d in ("", "_reverse")}
    extended = SpatialLSTM(3, 4, extended=True, bias=False)
    assert {name: tuple(p.shape) for name, p in extended.named_parameters()} == {
        "weight_ih_l0": (20, 3),
        "weight_hh_l0": (20, 8),
        "weight_ch_l0": (20, 8),
    }


def test_unbatched() -> None:
    layer = make_layer("graves", 3, 4, 2, directions="all")
    x, state = make_input(layer, 1), make_state(layer, 1, (4, 3))
    output, far = layer(x, state)
    alone, far_alone = layer(x[0], State(*(tuple(face[:, 0] for face in group) for group in state)))
    assert_close([alone, *faces(far_alone)], [output[0], *(face[:, 0] for face in faces(far))])


@pytest.mark.parametrize(("merge", "features"), [("concat", 16), ("sum", 4), ("mean", 4)])
def test_empty_batch(merge: str, features: int) -> None:
    layer = make_layer("spatial", 3, 4, 2, directions="all", merge=merge)
    x = make_input(layer, 0)
    output, state = layer(x)
    assert output.shape == (0, features, 4, 3)
    assert [face.shape for face in state.h] == [(8, 0, 4, 3), (8, 0, 4, 4)]
    output.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("backend", "tile"),
    [("auto", None), ("plain", None), ("composite", None), ("reference", None), ("auto", (2, 2))],
)
def test_every_result_of_an_empty_batch_is_part_of_the_graph(
    backend: str, tile: tuple[int, int] | None, compiled: bool
) -> None:
    """Far faces as the output, as those of ``nn.LSTM`` are: a step on any of them gives gradients, which are zero."""
    layer = make_layer("spatial", 3, 4, 2, backend=backend)
    x, near = make_input(layer, 0), make_state(layer, 0, (4, 3))
    run = torch.compile(layer, backend="eager") if compiled else layer
    output, far = run(x, near, tile=tile)
    for result in (output, *faces(far)):
        found = torch.autograd.grad(result.sum(), [x, *faces(near), *layer.parameters()], retain_graph=True)
        assert not any(grad.any() for grad in found)
    assert [face.dtype for face in faces(far)] == [torch.float64] * 4


def test_dropout_acts_between_layers_in_training_alone() -> None:
    layer = make_layer("spatial", 3, 4, 2, dropout=1.0)
    x = make_input(layer)
    silent = make_layer("spatial", 3, 4, 2)
    silent.load_state_dict(layer.state_dict())
    dropped = layer(x)[0]
    assert_close([dropped], [layer(torch.randn_like(x))[0]])  # nothing of the input is left
    layer.eval()
    assert torch.equal(layer(x)[0], silent(x)[0])
    with pytest.warns(UserWarning, match="num_layers=1"):
        SpatialLSTM(3, 4, dropout=0.5)


def test_images_do_not_see_one_another() -> None:
    """NaN and inf in one image never reach another."""
    layer = make_layer("stable", 3, 4, 2, directions="all")
    x = make_input(layer, 3, grad=False)
    expected = layer(x)[0]
    for poison in (torch.nan, torch.inf):
        bad = x.clone()
        bad[1] = poison
        output = layer(bad)[0]
        assert_close([output[0], output[2]], [expected[0], expected[2]])


@pytest.mark.support("`channels_last`, expanded and strided input")
def test_memory_layouts_of_the_input() -> None:
    layer = make_layer("spatial", 3, 4, directions="all")
    x = make_input(layer, grad=False)
    expected = layer(x)[0]
    wide = torch.randn(2, 6, 8, 3, dtype=torch.float64)
    wide[:, ::2, ::2] = x
    views = [x.to(memory_format=torch.channels_last), x.transpose(2, 3).contiguous().transpose(2, 3), wide[:, ::2, ::2]]
    for view in views:
        assert torch.equal(layer(view)[0], expected)
    one = x[:1, :, :, :1].expand(2, 3, 4, 3)
    assert torch.equal(layer(one)[0], layer(one.contiguous())[0])


@pytest.mark.support("`state_dict` with `weights_only=True`, `deepcopy`, `pickle`")
def test_saves_copies_and_pickles(tmp_path: Path) -> None:
    layer = make_layer("graves-peephole", 3, 4, 2, directions="all")
    x = make_input(layer, grad=False)
    torch.save(layer.state_dict(), tmp_path / "weights.pt")
    other = make_layer("graves-peephole", 3, 4, 2, directions="all")
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    for twin in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x)[0], layer(x)[0])


def test_repr_shows_what_is_not_default() -> None:
    assert repr(SpatialLSTM(3, 4)) == "SpatialLSTM(3, 4)"
    shown = repr(SpatialLSTM(3, 4, 2, directions="all", cell="graves", peephole=True, merge="sum"))
    assert "num_layers=2" in shown
    assert "directions=('ff', 'fr', 'rf', 'rr'), cell='graves', peephole=True, merge='sum'" in shown
    assert repr(SpatialLSTMCell(3, 4, spatial_dims=3)) == "SpatialLSTMCell(3, 4, spatial_dims=3)"


@pytest.mark.support("bfloat16 and float16, c carried in float32")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("variant", VARIANTS)
def test_sixteen_bits_carry_c_in_float32(variant: str, dtype: torch.dtype) -> None:
    layer = SpatialLSTM(3, 8, directions="all", **VARIANTS[variant]).to(dtype)
    x = torch.randn(2, 3, 9, 7).to(dtype)
    output, state = layer(x)
    exact, exact_state = layer.double()(x.double())
    assert output.dtype == dtype
    assert state.h[0].dtype == dtype
    assert state.c[0].dtype == torch.float32
    bound = 16 * torch.finfo(dtype).eps
    assert (output.double() - exact).abs().max() < bound
    assert (state.c[1].double() - exact_state.c[1]).abs().max() < bound * max(1.0, exact_state.c[1].abs().max().item())
