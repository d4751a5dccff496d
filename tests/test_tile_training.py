"""A layer in tiles: whatever it runs in, and whatever it is differentiated for, the same as the whole at once, and less kept."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import functional_call, grad, vmap
from torch.library import opcheck
from torch.utils.flop_counter import FlopCounterMode

from spatial_lstm import OutputOnly, SpatialLSTM, State, functional
from spatial_lstm.engine.tiling import TileGrid
from tests.cases import SIZES, VARIANTS, assert_close, faces, gradients, make_input, make_layer, make_state
from tests.test_operator import Record, leaf

per_cell = pytest.mark.parametrize("variant", VARIANTS)
of_the_compiler = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
RAGGED = [[7, 5], [2, 3], [4, 6]]


def results(
    layer: Any, x: Tensor, state: State | None = None, like: SpatialLSTM | None = None, **options: Any
) -> list[Tensor]:
    """Output, far faces, and the gradients of input, parameters and near faces."""
    output, far = layer(x, state, **options)
    inputs = [x, *(like or layer).parameters(), *(faces(state) if state else [])]
    outputs = [output, *faces(far)]
    return [*outputs, *gradients(outputs, inputs)]


def assert_tiles_change_nothing(
    layer: SpatialLSTM, x: Tensor, tile: Sequence[int], state: State | None = None, **options: Any
) -> None:
    assert_close(results(layer, x, state, tile=tile, **options), results(layer, x, state, **options))


@per_cell
@pytest.mark.parametrize("backend", ["auto", "plain"])
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
def test_all_directions_and_layers(variant: str, backend: str, ragged: bool) -> None:
    layer = make_layer(variant, 3, 4, 2, directions="all", backend=backend)
    x, state = make_input(layer, 3, (7, 6)), make_state(layer, 3, (7, 6))
    assert_tiles_change_nothing(layer, x, (3, 2), state, **({"sizes": RAGGED} if ragged else {}))


@pytest.mark.parametrize("seed", range(40))
def test_anything(seed: int) -> None:
    """Layers, extents, tiles and sizes as they come."""
    draw = random.Random(seed)
    n, batch = draw.randint(1, 3), draw.randint(1, 3)
    layer = make_layer(
        draw.choice(list(VARIANTS)),
        *(3, 4, draw.randint(1, 3)),
        directions=draw.choice([None, "all", "r" * n]),
        spatial_dims=n,
        merge=draw.choice(["concat", "sum", "mean"]),
        channels_last=draw.random() < 0.5,
        bias=draw.random() < 0.7,
        scale=0.3,
    )
    extents = [draw.randint(1, 9) for _ in range(n)]
    x = make_input(layer, batch, extents)
    state = make_state(layer, batch, extents) if draw.random() < 0.6 else None
    ragged = [[draw.randint(1, extent) for extent in extents] for _ in range(batch)]
    tile = [draw.randint(1, 6) for _ in range(n)]
    assert_tiles_change_nothing(layer, x, tile, state, sizes=ragged if draw.random() < 0.5 else None)


def test_some_faces_unbatched_and_frozen() -> None:
    layer = make_layer("graves", 3, 4, 2, tile=(2, 2))
    layer.weight_hh_l0.requires_grad_(False)
    x = make_input(layer, 1, (5, 4))[0].detach().requires_grad_()
    above = torch.randn(2, 4, 4, dtype=torch.float64, requires_grad=True)
    trained = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    found = []
    for tile in (None, (99, 99)):
        layer.tile = tile
        output, far = layer(x, State((above, None), (None, None)))
        found.append([output, *faces(far), *gradients([output], [x, above, *trained])])
    assert_close(*found)


def test_gradients_of_faces_alone() -> None:
    layer = make_layer("stable", 3, 4, directions="all")
    x, state = make_input(layer, 2, (5, 4)), make_state(layer, 2, (5, 4))
    found = [gradients(layer(x, state, tile=tile)[1].c, [x, *faces(state)]) for tile in (None, (2, 3))]
    assert_close(*found)


def test_junk_beyond_images_reaches_nothing() -> None:
    layer = make_layer("spatial", 3, 4, directions="all")
    x, state = make_input(layer), make_state(layer, 2, (4, 3))
    with torch.no_grad():
        x[1, :, 2:] = x[1, :, :, 3:] = x[0, :, :, 1:] = torch.nan
        for group in state:
            group[0][:, 0, :, 1:] = group[1][:, 1, :, 2:] = torch.nan
    found = results(layer, x, state, sizes=SIZES[2], tile=(2, 2))
    assert not any(tensor.isnan().any() for tensor in found)


def test_sixteen_bits() -> None:
    layer = make_layer("spatial", 3, 4, 2, directions="all", dtype=torch.bfloat16, scale=0.2)
    assert_tiles_change_nothing(layer, make_input(layer, 2, (9, 8)), (4, 3))


def test_functional_and_output_only() -> None:
    layer = make_layer("spatial", 3, 4, tile=(2, 2))
    x = make_input(layer)
    weights = (layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_l0)
    outputs = [functional.spatial_lstm(x, *weights, tile=tile)[0] for tile in (None, [2, 1])]
    assert_close([*outputs, OutputOnly(layer)(x)], [outputs[0]] * 3)
    assert "tile=(2, 2)" in repr(layer)


def test_dropout_is_drawn_as_for_the_whole() -> None:
    layer = make_layer("spatial", 3, 4, 3, dropout=0.5)
    x, found = make_input(layer), []
    for tile in (None, (2, 2)):
        torch.manual_seed(1)
        found.append(results(layer, x, tile=tile))
    assert_close(*found)
    layer.eval()
    assert_tiles_change_nothing(layer, x, (2, 2))


def kept_bytes(layer: SpatialLSTM, x: Tensor, tile: tuple[int, ...] | None) -> int:
    """Memory that autograd holds for the backward beside input and parameters."""
    held: dict[int, int] = {}

    def hold(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        layer(x, tile=tile)
    given = {tensor.untyped_storage().data_ptr() for tensor in (x, *layer.parameters())}
    return sum(size for at, size in held.items() if at not in given)


def test_faces_alone_are_kept() -> None:
    layer = make_layer("spatial", 3, 4, 2)
    x = make_input(layer, 1, (40, 60))
    near = (4 * 60 + 3 * 40) * 2 * 2 * 4 * 8  # tiles of 10x20: faces of h and c, of 2 layers of 4 features in float64
    weights = sum(parameter.numel() for parameter in layer.parameters()) * 8
    assert kept_bytes(layer, x, (10, 20)) <= near + weights
    assert kept_bytes(layer, x, None) > 8 * (near + weights)
    with torch.no_grad(), Record() as record:
        layer(x, tile=(10, 20))
    assert [found.shape[1] for found in record.results["tiled_forward"][0][-2:]] == [0, 0]


def test_one_call_for_layers_of_one_direction() -> None:
    for directions, calls in ((None, 1), ("all", 3)):
        layer = make_layer("spatial", 3, 4, 3, directions=directions, tile=(2, 2))
        with Record() as record:
            layer(make_input(layer))[0].sum().backward()
        assert {name: len(made) for name, made in record.calls.items() if made} == {
            "tiled_forward": calls,
            "tiled_backward": calls,
        }


def test_every_tile_after_its_predecessors() -> None:
    grid = TileGrid((5, 4, 3), (2, 3, 3))
    for direction in ("fff", "frf", "rrr"):
        seen: set[tuple[int, ...]] = set()
        for tile in grid.order(direction):
            for axis, letter in enumerate(direction):
                before = list(tile.number)
                before[axis] += -1 if letter == "f" else 1
                assert tuple(before) in seen or before[axis] in (-1, grid.counts[axis])
            seen.add(tile.number)
        assert len(seen) == 3 * 2 * 1


@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
def test_opcheck(ragged: bool) -> None:
    layer = make_layer("spatial-extended", 2, 3, directions="rf", tile=(2, 1))
    with Record() as record:
        output, far = layer(
            make_input(layer, 2, (2, 2)), make_state(layer, 2, (2, 2)), sizes=[[2, 1], [1, 2]] if ragged else None
        )
        (output.sum() + sum(face.sum() for face in faces(far))).backward()
    for name in ("tiled_forward", "tiled_backward"):
        args = tuple(leaf(arg) for arg in record.calls[name][0])
        checks = ["test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"]
        if name == "tiled_backward" or not ragged:
            checks.pop()  # second derivatives unroll the whole, which takes a minute to trace, and for sizes cannot be
        opcheck(getattr(torch.ops.spatial_lstm, name).default, args, test_utils=checks)


def as_function(layer: SpatialLSTM, sizes: Any = None) -> Any:
    """The layer as a function of its input, faces and parameters."""
    names = [name for name, _ in layer.named_parameters()]

    def call(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        parameters = dict(zip(names, rest[4:], strict=True))
        output, far = functional_call(layer, parameters, (x, State(rest[:2], rest[2:4])), {"sizes": sizes})
        return output, *faces(far)

    return call


def test_derivatives_of_first_and_second_order() -> None:
    layer = make_layer("spatial-extended", 1, 1, 2, directions="fr", tile=(1, 1))
    arguments = [make_input(layer, 1, (2, 2)), *faces(make_state(layer, 1, (2, 2))), *layer.parameters()]
    call = as_function(layer, [[2, 1]])
    assert gradcheck(call, arguments, fast_mode=True)
    assert gradgradcheck(call, arguments, fast_mode=True)


@pytest.mark.parametrize("directions", [None, "all"])
def test_batched_gradients_forward_mode_and_transforms(directions: Any) -> None:
    layer = make_layer("graves-peephole", 2, 3, 2, directions=directions)
    x, parameters = make_input(layer, 2), dict(layer.named_parameters())
    found: dict[Any, list[Tensor]] = {}
    for tile in (None, (2, 2)):
        layer.tile = tile
        output = layer(x)[0]
        pulled = torch.randn(3, *output.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        batched = torch.autograd.grad(output, [x, *layer.parameters()], pulled, is_grads_batched=True)
        with forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, torch.ones_like(x)))[0]).tangent
        per_image = vmap(grad(lambda p, one: functional_call(layer, p, (one,))[0].pow(2).sum()), (None, 0))(
            parameters, x
        )
        found[tile] = [*batched, tangent, *per_image.values()]
    assert_close(found[2, 2], found[None])


def test_checkpoint_and_autocast() -> None:
    layer = make_layer("spatial", 3, 4, 2, directions="all", dtype=torch.float32, tile=(2, 2), scale=0.2)
    x = make_input(layer, 2, (5, 4))
    inputs = [x, *layer.parameters()]
    expected = gradients([layer(x)[0]], inputs)
    again = torch.utils.checkpoint.checkpoint(lambda x: layer(x)[0], x, use_reentrant=False)
    assert_close(gradients([again], inputs), expected)
    found = []
    for tile in ((2, 2), (9, 9)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output, far = layer(x, tile=tile)
        assert output.dtype == torch.bfloat16
        assert far.c[0] is not None
        assert far.c[0].dtype == torch.float32
        found.append([output, *gradients([output], inputs)])
    assert_close([t.bfloat16() for t in found[0]], [t.bfloat16() for t in found[1]])


@of_the_compiler
def test_compile_with_sizes_and_faces() -> None:
    torch._dynamo.reset()
    layer = make_layer("graves-peephole", 3, 4, 2, directions=("ff", "rf"), tile=(2, 2))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x, state = make_input(layer), make_state(layer, 2, (4, 3), grad=False)
    output, far = compiled(x, state, sizes=torch.tensor(SIZES[2]))
    expected, ends = layer(x, state, sizes=torch.tensor(SIZES[2]))
    inputs = [x, *layer.parameters()]
    assert_close(
        [output, *faces(far), *gradients([output], inputs)], [expected, *faces(ends), *gradients([expected], inputs)]
    )


@of_the_compiler
def test_compile_few_times_and_export() -> None:
    torch._dynamo.reset()
    layer = make_layer("spatial", 3, 4, tile=(3, 2))
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer, fullgraph=True, backend=counter)
    for batch, *extents in ((2, 5, 4), (3, 7, 6), (4, 6, 9)):
        x = make_input(layer, batch, extents)
        assert_close(results(compiled, x, like=layer), results(layer, x, tile=(99, 99)))
    assert counter.frame_count <= 2
    dims = {name: torch.export.Dim(name) for name in "NHW"}
    dynamic = {"input": {0: dims["N"], 2: dims["H"], 3: dims["W"]}}
    exported = torch.export.export(layer, (make_input(layer, grad=False),), dynamic_shapes=dynamic).module()
    x = make_input(layer, 3, (7, 5), grad=False)
    assert_close([exported(x)[0]], [layer(x)[0]])


def test_flops_count_the_second_run() -> None:
    layer = make_layer("spatial", 3, 4, 2, directions="rr")
    x, found = make_input(layer), {}
    for tile in (None, (2, 2)):
        with FlopCounterMode(display=False) as forward:
            output = layer(x, tile=tile)[0]
        with FlopCounterMode(display=False) as backward:
            output.sum().backward()
        found[tile] = forward.get_total_flops(), backward.get_total_flops()
    once, back = found[None]
    assert found[2, 2] == (once, back + once)


def test_meta_device_and_no_images() -> None:
    layer = SpatialLSTM(3, 4, directions="all", merge="sum", device="meta", tile=(2, 2))
    assert layer(torch.empty(2, 3, 5, 6, device="meta"))[0].shape == (2, 4, 5, 6)
    layer = make_layer("spatial", 3, 4, tile=(2, 2))
    assert results(layer, make_input(layer, 0))[0].shape == (0, 4, 4, 3)


@pytest.mark.parametrize(
    ("tile", "error", "message"),
    [
        (4, TypeError, "expected tile to be a tuple of 2 ints or None, got int"),
        ((4,), ValueError, "expected tile to have one extent for each of 2 spatial axes, got \\(4,\\)"),
        ((4, 0), ValueError, "expected tile\\[1\\] to be positive, got 0"),
        ((4, 2.0), TypeError, "expected tile\\[1\\] to be an int, got float"),
    ],
)
def test_tiles_that_are_none(tile: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SpatialLSTM(3, 4, tile=tile)
    with pytest.raises(error, match=message):
        SpatialLSTM(3, 4)(torch.zeros(1, 3, 2, 2), tile=tile)


def test_what_knows_no_tiles_says_so() -> None:
    with pytest.raises(
        ValueError, match="expected backend 'auto' or the name of a kernel with a tile, got 'composite'"
    ):
        SpatialLSTM(3, 4, backend="composite", tile=(2, 2))
    layer = make_layer("spatial", 3, 4, backend="plain", tile=(2, 2))
    with pytest.raises(ValueError, match="expected backend 'auto' or 'composite'"):
        vmap(lambda x: layer(x)[0])(make_input(layer, grad=False))
