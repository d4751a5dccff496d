"""SpatialLSTM and SpatialLSTMCell: what the contract promises."""

from __future__ import annotations

import copy
import itertools
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from spatial_lstm import SpatialLSTM, SpatialLSTMCell, State, functional
from tests.cases import EXTENTS, SIZES, VARIANTS, assert_close, faces, gradients, make_input, make_layer, make_state


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


@pytest.mark.support("Tile by tile equals the whole, gradients too")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiles_with_faces_handed_on_equal_the_whole(variant: str, n: int) -> None:
    """Outputs and gradients, cut once along every axis, in a direction with a reverse axis."""
    directions = ("f" * n, "r" + "f" * (n - 1))
    layer = make_layer(variant, 3, 4, spatial_dims=n, directions=directions)
    extents = (3, 4, 2)[:n]
    x, near = make_input(layer, 2, extents), make_state(layer, 2, extents)
    for axis, d in itertools.product(range(n), range(2)):
        single = copy.deepcopy(layer)
        single.directions = (directions[d],)
        state = State(*(tuple(face[d : d + 1] for face in group) for group in near))
        inputs = [x, *faces(near), *(p for p in single.parameters())]
        whole, far = single(x, state)
        first, second = x.split([1, extents[axis] - 1], dim=2 + axis)
        if directions[d][axis] == "r":
            first, second = second, first
        out1, mid = run_tile(single, first, state, axis, 0 if directions[d][axis] == "f" else 1, extents)
        out2, end = run_tile(single, second, state, axis, 1 if directions[d][axis] == "f" else 0, extents, mid)
        joined = torch.cat([out1, out2] if directions[d][axis] == "f" else [out2, out1], dim=2 + axis)
        assert_close([joined, end.h[axis], end.c[axis]], [whole, far.h[axis], far.c[axis]])  # type: ignore[list-item]
        assert_close(gradients([joined], inputs), gradients([whole], inputs))


def run_tile(
    layer: SpatialLSTM,
    x: Tensor,
    near: State,
    axis: int,
    half: int,
    extents: tuple[int, ...],
    before: State | None = None,
) -> tuple[Tensor, State]:
    """One of two tiles cut along ``axis``: its near faces are the whole's, cut, and along ``axis`` what left the tile before."""
    groups = []
    for name in ("h", "c"):
        tile = []
        for k, face in enumerate(getattr(near, name)):
            if k == axis:
                tile.append(face if before is None else getattr(before, name)[k])
            else:
                dim = 3 + (axis if axis < k else axis - 1)
                tile.append(face.split([1, extents[axis] - 1], dim=dim)[half])
        groups.append(tuple(tile))
    output, state = layer(x, State(*groups))
    return output, state


@pytest.mark.parametrize("n", [1, 2, 3])
def test_missing_faces_are_zeros(n: int) -> None:
    layer = make_layer("graves", 3, 4, spatial_dims=n, directions="all")
    x, near = make_input(layer), make_state(layer, 2, EXTENTS[n])
    for missing in range(n):
        some = State(tuple(None if k == missing else f for k, f in enumerate(near.h)), near.c)
        zero = State(
            tuple(torch.zeros_like(f) if k == missing else f for k, f in enumerate(near.h) if f is not None), near.c
        )
        assert_close([layer(x, some)[0]], [layer(x, zero)[0]])
    nothing = State((None,) * n, (None,) * n)
    assert torch.equal(layer(x, nothing)[0], layer(x)[0])


@pytest.mark.support("Padded batches with `sizes`")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_sizes_give_what_each_image_gives_alone(variant: str, n: int) -> None:
    """In all directions, two layers; NaN in the padding reaches nothing, and nothing reaches the padding."""
    layer = make_layer(variant, 3, 4, 2, spatial_dims=n, directions="all")
    sizes = torch.tensor(SIZES[n])
    x, near = make_input(layer, 2), make_state(layer, 2, EXTENTS[n])
    inside = torch.zeros(2, 1, *EXTENTS[n], dtype=torch.bool)
    for image, size in enumerate(SIZES[n]):
        inside[(image, 0, *(slice(s) for s in size))] = True
    poisoned = torch.where(inside, x, torch.nan)
    output, far = layer(poisoned, near, sizes=sizes)
    assert not output.masked_select(~inside).any()
    grads = gradients([output, *faces(far)], [x, *faces(near), *layer.parameters()])
    assert all(g.isfinite().all() for g in grads)
    for image, size in enumerate(SIZES[n]):
        window = tuple(slice(s) for s in size)
        alone_near = State(*(tuple(cut_face(face, image, size, k) for k, face in enumerate(group)) for group in near))
        alone, alone_far = layer(x[(slice(image, image + 1), slice(None), *window)], alone_near)
        assert_close([output[(slice(image, image + 1), slice(None), *window)]], [alone])
        for group, alone_group in zip(far, alone_far, strict=True):
            for k, (face, alone_face) in enumerate(zip(group, alone_group, strict=True)):
                assert_close([cut_face(face, image, size, k)], [alone_face])
                assert torch.isclose(face[:, image].abs().sum(), alone_face.abs().sum()), "zero beyond the image"


def cut_face(face: Tensor, image: int, size: list[int], axis: int) -> Tensor:
    return face[
        (slice(None), slice(image, image + 1), slice(None), *(slice(s) for k, s in enumerate(size) if k != axis))
    ]


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
