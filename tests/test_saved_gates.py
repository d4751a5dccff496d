"""Gates saved in 16 bits: a layer computes the same to the bit, and gradients to what rounding leaves, near 0 and 1 as elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import Tensor
from torch.library import opcheck
from torch.utils.checkpoint import checkpoint

from spatial_lstm import SpatialLSTM, functional
from spatial_lstm.engine import get_cell
from spatial_lstm.engine.kernels import FOLDED, GATES, KERNELS, Incoming, Saved, check_tables, gates_dtype
from spatial_lstm.engine.kernels.folded import fold, unfold
from spatial_lstm.engine.problem import make_problem
from spatial_lstm.engine.tensors import Tensors
from tests.cases import EXTENTS, SIZES, VARIANTS, assert_close, faces, gradients, make_input, make_layer, make_state
from tests.test_operator import leaf, step
from tests.test_robustness import cases

BACKENDS = ["cpp", "plain"]
SHAPES = {1: [(9,), (1,)], 2: [(6, 7), (1, 5)], 3: [(3, 4, 2), (1, 3, 1)], 4: [(2, 1, 3, 2)]}
# One vector's features or less, more, and a few that sites share.
HIDDEN = [3, 8, 21]


def both(
    variant: str, *args: int, extents: tuple[int, ...], sizes: Sequence[object] | None = None, **options: Any
) -> list[tuple[list[Tensor], list[Tensor]]]:
    """Outputs and far faces, and all gradients, of a layer with its gates saved as they are and of one with 16 bits of each."""
    results = []
    for saved_gates in (None, "bfloat16"):
        torch.manual_seed(0)
        layer = make_layer(variant, *args, dtype=torch.float32, saved_gates=saved_gates, **options)
        batch = 2 if sizes is None else len(sizes)
        x, near = make_input(layer, batch, extents), make_state(layer, batch, extents)
        output, far = layer(x, near, sizes=sizes)
        outputs = [output, *faces(far)]
        results.append((outputs, gradients(outputs, [x, *faces(near), *layer.parameters()])))
    return results


def assert_rounded(found: list[Tensor], exact: list[Tensor]) -> None:
    """Equal as 16-bit numbers are, and not exactly."""
    assert_close([t.bfloat16() for t in found], exact)
    assert not all(torch.equal(a, b) for a, b in zip(found, exact, strict=True))


def equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_near_zero_and_one_as_exact_as_elsewhere() -> None:
    z = torch.randn(10_000, dtype=torch.float64) * 6
    for y in (z.sigmoid(), z.tanh(), torch.rand(10_000, dtype=torch.float64) * 2 - 1):
        y = y.float()
        found = unfold(fold(y))
        assert bool(((found - y).abs() <= torch.minimum(y.abs(), 1 - y.abs()) / 256).all())


def test_what_16_bits_can_say_is_not_changed() -> None:
    y = torch.tensor([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 0.75, -0.25, 1 - 2.0**-24, 2.0**-24 - 1, 2.0**-100])
    found = unfold(fold(y))
    assert torch.equal(found, y)
    assert torch.equal(found.signbit(), y.signbit())
    assert bool(unfold(fold(torch.tensor([math.nan]))).isnan())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n", SHAPES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_alone_are_rounded(variant: str, n: int, backend: str) -> None:
    """Several layers and directions, near faces, axes of extent 1."""
    directions = "all" if n < 4 else ("ffff", "rfrf")
    for extents, hidden in zip(SHAPES[n], HIDDEN[1:], strict=False):
        options = {"spatial_dims": n, "directions": directions, "backend": backend, "scale": 0.3}
        (outputs, exact), (same, found) = both(variant, 3, hidden, 2, extents=extents, **options)
        assert equal(same, outputs)
        assert_rounded(found, exact)


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases())
def test_any_shape(case: dict[str, Any]) -> None:
    options = {name: case[name] for name in ("directions", "bias")} | {"spatial_dims": case["n"], "scale": 0.4}
    args, shape = (case["channels"], case["hidden"]), {"extents": case["extents"], "sizes": case["sizes"]}
    for backend in BACKENDS:
        (outputs, exact), (same, found) = both(case["variant"], *args, backend=backend, **shape, **options)
        assert equal(same, outputs)
        assert_close([torch.cat([t.flatten() for t in found]).bfloat16()], [torch.cat([t.flatten() for t in exact])])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_images_of_their_own_sizes(hidden: int, backend: str) -> None:
    for n in (1, 2, 3):
        options = {"spatial_dims": n, "directions": "all", "backend": backend, "sizes": SIZES[n]}
        (outputs, exact), (same, found) = both("graves-peephole", 2, hidden, extents=EXTENTS[n], **options)
        assert equal(same, outputs)
        assert_rounded(found, exact)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_of_saturated_gates(variant: str, n: int, backend: str) -> None:
    """Each gate's own: rounded as they are, such gates would be 1 and their gradients zero."""
    found = []
    for saved_gates in (None, "bfloat16"):
        torch.manual_seed(0)
        layer = make_layer(variant, 3, 16, spatial_dims=n, dtype=torch.float32, scale=0.1, backend=backend)
        layer.saved_gates = saved_gates
        names = get_cell(layer.cell_type).gate_names(n)
        with torch.no_grad():
            for name, block in zip(names, layer.bias_l0.view(len(names), -1), strict=True):
                block[::2], block[1::2] = (4, -4) if name == "g" else (8, -8)
        output, _ = layer(make_input(layer, 2, (5, 4, 3)[:n]))
        (grad,) = gradients([output], [layer.bias_l0])
        found.append([part for block in grad.view(len(names), -1) for part in (block[::2], block[1::2])])
    assert_rounded(found[1], found[0])


@pytest.mark.parametrize("hidden", HIDDEN)
def test_kernels_fold_alike(hidden: int, cpp_kernel: None) -> None:
    """The C++ kernel saves what torch's operations make of the gates that it saves as they are, over whole vectors and parts."""
    layer = make_layer("stable", 3, hidden, dtype=torch.float32, scale=2, channels_last=True)
    weights = {name.removesuffix("_l0"): weight.detach() for name, weight in layer.named_parameters()}
    problem = make_problem(Tensors(make_input(layer, 2, (9, 7)).detach(), **weights), None, "ff", "stable")
    exact, found = (KERNELS["cpp"].forward(problem, keep).gates for keep in (GATES, FOLDED))
    assert exact is not None
    assert found is not None
    assert float(exact.abs().max()) > 0.999
    assert torch.equal(fold(exact), found)


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_the_gates_bytes_are_held(backend: str) -> None:
    layer = make_layer("spatial", 3, 4, dtype=torch.float32, backend=backend)
    sizes = []
    for layer.saved_gates in (None, "bfloat16"):
        *_, gates = step(layer, make_input(layer)).results["forward"][0]
        sizes.append(gates.nbytes)
    assert sizes == [2 * 4 * 3 * 5 * 4 * 4, 2 * 4 * 3 * 5 * 4 * 2]


@pytest.mark.parametrize("ragged", [False, True])
def test_opcheck(ragged: bool) -> None:
    layer = make_layer("spatial", 3, 4, directions=("ff", "rf"), dtype=torch.float32, saved_gates="bfloat16")
    record = step(layer, make_input(layer), sizes=SIZES[2] if ragged else None)
    for name in ("forward", "backward"):
        args = tuple(leaf(arg) for arg in record.calls[name][0])
        checks = ("test_schema", "test_autograd_registration", "test_faketensor")
        opcheck(getattr(torch.ops.spatial_lstm, name).default, args, test_utils=checks)


def test_compiled() -> None:
    layer = make_layer("stable", 3, 4, 2, directions="all", dtype=torch.float32, saved_gates="bfloat16")
    x = make_input(layer)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    found, expected = (gradients([model(x)[0]], [x, *layer.parameters()]) for model in (compiled, layer))
    assert equal(found, expected)


def test_exported() -> None:
    layer = make_layer("stable", 3, 4, dtype=torch.float32, saved_gates="bfloat16")
    x = make_input(layer)
    program = torch.export.export(layer, (x,)).module()
    found, expected = (gradients([model(x)[0]], [x]) for model in (program, layer))
    assert equal(found, expected)


def test_within_a_checkpoint() -> None:
    layer = make_layer("graves", 3, 4, dtype=torch.float32, saved_gates="bfloat16")
    x = make_input(layer)
    whole = checkpoint(lambda x: layer(x)[0], x, use_reentrant=False)
    assert equal(gradients([whole], [x]), gradients([layer(x)[0]], [x]))


def test_second_derivatives_are_exact() -> None:
    found = []
    for saved_gates in (None, "bfloat16"):
        torch.manual_seed(0)
        layer = make_layer("spatial", 2, 3, dtype=torch.float32, saved_gates=saved_gates)
        x = make_input(layer, 1, (3, 2))
        (first,) = torch.autograd.grad(layer(x)[0].sum(), [x], create_graph=True)
        direction = torch.linspace(-1, 1, x.numel()).view(x.shape)
        found.append(list(torch.autograd.grad((first * direction).sum(), [x, *layer.parameters()])))
    assert_close(*found)


@pytest.mark.parametrize(
    "options",
    [{"tile": (2, 2)}, {"backend": "composite"}, {"backend": "reference"}, {"dtype": torch.bfloat16}],
    ids=str,
)
def test_what_is_not_changed_at_all(options: dict[str, Any]) -> None:
    """Tiles, whose gates do not stay; backends that save none; layers whose gates have 16 bits as they are."""
    found = []
    for saved_gates in (None, "bfloat16"):
        torch.manual_seed(0)
        layer = make_layer("spatial", 2, 3, directions="all", **{"dtype": torch.float32, **options})
        layer.saved_gates = saved_gates
        x = make_input(layer)
        output, _ = layer(x)
        found.append([output, *gradients([output], [x, *layer.parameters()])])
    assert equal(*found)


def test_under_autocast() -> None:
    layer = make_layer("spatial", 2, 3, dtype=torch.float32, saved_gates="bfloat16")
    with torch.autocast("cpu", torch.bfloat16):
        record = step(layer, make_input(layer))
    assert record.results["forward"][0][-1].dtype == torch.bfloat16
    assert record.calls["forward"][0][-3] == GATES


def test_says_so() -> None:
    assert repr(SpatialLSTM(2, 3, saved_gates="bfloat16")) == "SpatialLSTM(2, 3, saved_gates='bfloat16')"


BAD = [
    pytest.param({"saved_gates": "float8"}, r"expected saved_gates to be one of \('bfloat16',\) or None, got 'float8'"),
    pytest.param({"saved_gates": torch.bfloat16}, "expected saved_gates to be one of .* got torch.bfloat16"),
    pytest.param({"saved_gates": True}, "expected saved_gates to be one of .* got True"),
    pytest.param({"saved_gates": "bfloat16", "recompute": True}, "expected saved_gates=None with recompute=True"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_refuses(options: dict[str, Any], message: str) -> None:
    """When a layer is made, when it is changed, and without one."""
    with pytest.raises(ValueError, match=message):
        SpatialLSTM(2, 3, **options)
    layer = SpatialLSTM(2, 3)
    for name, value in options.items():
        setattr(layer, name, value)
    x = torch.zeros(1, 2, 2, 2)
    with pytest.raises(ValueError, match=message):
        layer(x)
    weights = SpatialLSTM(2, 3)
    with pytest.raises(ValueError, match=message):
        functional.spatial_lstm(x, weights.weight_ih_l0, weights.weight_hh_l0, **options)


@pytest.mark.parametrize("tile", [None, (2, 2)], ids=str)
def test_refuses_float64(tile: tuple[int, int] | None) -> None:
    layer = SpatialLSTM(2, 3, saved_gates="bfloat16", tile=tile).double()
    with pytest.raises(ValueError, match=r"expected saved_gates=None with torch.float64, got 'bfloat16'"):
        layer(torch.zeros(1, 2, 2, 2, dtype=torch.float64))


def test_without_a_layer() -> None:
    layer = make_layer("spatial", 2, 3, dtype=torch.float32, saved_gates="bfloat16")
    x, weights = make_input(layer), list(layer.parameters())
    output, _ = functional.spatial_lstm(x, *weights, saved_gates="bfloat16")
    assert equal(gradients([output], weights), gradients([layer(x)[0]], weights))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_kernels_refuse_what_is_not_folded(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match="expected a layer in torch.float32 where gates are folded"):
        gates_dtype(FOLDED, dtype)


def test_tables_of_another_type_are_refused() -> None:
    layer = make_layer("spatial", 2, 3, channels_last=True)
    weights = {name.removesuffix("_l0"): weight.detach() for name, weight in layer.named_parameters()}
    problem = make_problem(Tensors(make_input(layer, 1, (2, 2)).detach(), **weights), None, "ff", "spatial")
    results = KERNELS["plain"].forward(problem, GATES)
    assert results.c is not None
    assert results.gates is not None
    with pytest.raises(ValueError, match="expected gates of shape .* and torch.float64"):
        check_tables(problem, Saved(results.output, results.c, fold(results.gates)), Incoming(None, None, None))
