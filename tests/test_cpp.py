"""What only the C++ kernel could get wrong. Equality is tested with all backends, compiling in ``test_compiling.py``."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import spatial_lstm
from spatial_lstm import State
from spatial_lstm.engine.cells import CELLS
from spatial_lstm.engine.cells.diagonal import DiagonalCell
from spatial_lstm.engine.kernels import UnsuitedError
from spatial_lstm.engine.kernels.cpp import kernel as cpp
from spatial_lstm.equality import TOLERANCE, relative_error
from tests.cases import VARIANTS, assert_close, faces, gradients, knows, make_input, make_layer, make_state

needs_kernel = pytest.mark.usefixtures("cpp_kernel")


@pytest.fixture(params=["sites", "features"])
def all_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However little there is to do, all threads share it out: a step's sites, or its features."""
    monkeypatch.setattr(cpp, "START_COST", 0)
    monkeypatch.setattr(cpp, "WAIT_COST", 0)
    monkeypatch.setattr(cpp, "EXCHANGE_COST", 0 if request.param == "features" else 10**6)


def run_both(variant: str, hidden: int, inputs: int, dtype: torch.dtype, n: int = 2) -> None:
    """The kernel equals the plain one."""
    extents = {1: (9,), 2: (7, 5), 3: (3, 2, 4)}[n]
    results = []
    for backend in ("cpp", "plain"):
        torch.manual_seed(0)
        layer = make_layer(
            variant,
            inputs,
            hidden,
            spatial_dims=n,
            directions="all",
            dtype=dtype,
            scale=0.5 / max(hidden, inputs // 32) ** 0.5,
        )
        layer.backend = backend
        x = make_input(layer, 3, extents)
        output = layer(x)[0]
        results.append([output, *gradients([output], [x, *layer.parameters()])])
    assert_close(results[0], results[1])


@needs_kernel
@pytest.mark.parametrize("inputs", [1, 7, 20])
@pytest.mark.parametrize("hidden", [1, 3, 7, 8, 9, 16, 17, 33, 50, 64, 80])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("variant", ["spatial-extended", "diagonal"])
def test_every_width(variant: str, hidden: int, inputs: int, dtype: torch.dtype) -> None:
    """Features fill one vector, part of one, several, and every width of a panel."""
    run_both(variant, hidden, inputs, dtype)


@needs_kernel
@pytest.mark.parametrize("hidden", [301, 470])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("variant", ["spatial", "diagonal"])
def test_weights_that_no_cache_holds(variant: str, dtype: torch.dtype, hidden: int) -> None:
    """More than 2 MB, which are fetched ahead, or than 32, which lie on large pages; what is left of the features fills no panel."""
    run_both(variant, hidden, 3, dtype)


@needs_kernel
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if knows("cpp", variant)])
def test_wide_layers_of_every_cell(variant: str, n: int) -> None:
    run_both(variant, 21, 5, torch.float64, n)


@needs_kernel
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("inputs", [383, 500, 1201])
@pytest.mark.parametrize("variant", ["spatial-extended", "graves-peephole"])
def test_more_inputs_than_are_gathered_at_once(variant: str, inputs: int, dtype: torch.dtype) -> None:
    run_both(variant, 3, inputs, dtype)


@needs_kernel
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("hidden", [3, 16, 33])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("variant", ["diagonal", "stable"])
def test_the_derivatives_are_autograds(variant: str, n: int, hidden: int, dtype: torch.dtype) -> None:
    """Of a cell with as many gates for every n and of one with more: states and faces too, against float64 on the same numbers."""
    extents = {1: (7,), 2: (4, 5), 3: (2, 3, 2), 4: (2, 1, 3, 2)}[n]
    assert_close(*results_and_exact(variant, 5, hidden, extents, 3, dtype, "cpp"))


@needs_kernel
@pytest.mark.parametrize("inputs", [1, 7, 16, 40])
@pytest.mark.parametrize("hidden", [1, 3, 15, 16, 17, 31, 33, 48, 50, 64, 80])
@pytest.mark.parametrize("variant", ["spatial-extended", "diagonal"])
def test_every_width_in_16_bits(variant: str, hidden: int, inputs: int) -> None:
    """As :func:`test_every_width`; and steps have sites for part of a matrix unit's tile, for several, and for part of another."""
    assert_no_worse_than_plain(variant, inputs, hidden, (7, 5), 11)


@needs_kernel
@pytest.mark.parametrize(("hidden", "batch"), [(301, 5), (700, 20)])
def test_wide_layers_in_16_bits(hidden: int, batch: int) -> None:
    """Weights that no second cache holds are fetched ahead, and panels go up and down."""
    assert_no_worse_than_plain("spatial", 3, hidden, (3, 4), batch)


def assert_no_worse_than_plain(variant: str, inputs: int, hidden: int, extents: tuple[int, ...], batch: int) -> None:
    """In 16 bits: as near to the exact values as is asked, or as the plain kernel where sums nearly cancel."""
    dtype = torch.bfloat16
    errors = {
        backend: [
            relative_error(*pair, dtype)
            for pair in zip(*results_and_exact(variant, inputs, hidden, extents, batch, dtype, backend), strict=True)
        ]
        for backend in ("cpp", "plain")
    }
    for place, (found, plain) in enumerate(zip(errors["cpp"], errors["plain"], strict=True)):
        assert found <= max(plain, TOLERANCE[dtype]), (
            f"tensor {place}: error {found:.3g}, of the plain kernel {plain:.3g}"
        )


def results_and_exact(
    variant: str, inputs: int, hidden: int, extents: tuple[int, ...], batch: int, dtype: torch.dtype, backend: str
) -> list[list[torch.Tensor]]:
    """Outputs, states and gradients, and what autograd finds in float64 of the same numbers."""
    n, layers = len(extents), []
    for chosen, its_dtype in ((backend, dtype), ("composite", torch.float64)):
        torch.manual_seed(0)
        layers.append(
            make_layer(
                variant,
                inputs,
                hidden,
                spatial_dims=n,
                directions=("f" * n, "r" * n),
                dtype=its_dtype,
                backend=chosen,
                scale=0.5 / hidden**0.5,
            )
        )
    layers[1].load_state_dict(layers[0].state_dict())
    given = [make_input(layers[0], batch, extents), *faces(make_state(layers[0], batch, extents))]
    results = []
    for layer, tensors in zip(layers, (given, [t.detach().double().requires_grad_() for t in given]), strict=True):
        output, far = layer(tensors[0], State(tuple(tensors[1 : n + 1]), tuple(tensors[n + 1 :])))
        outputs = [output, *faces(far)]
        results.append([*outputs, *gradients(outputs, [*tensors, *layer.parameters()])])
    return results


@needs_kernel
@pytest.mark.usefixtures("all_threads")
@pytest.mark.parametrize("batch", [1, 3, 50])
@pytest.mark.parametrize(
    "extents", [(12,), (3, 14), (14, 3), (2, 13, 3), (13, 2, 2), (2, 2, 12), (2, 12, 2, 1)], ids=str
)
def test_long_grids(extents: tuple[int, ...], batch: int) -> None:
    """Where one axis is longer than all others together most steps are like the one before; some are shared by three threads."""
    n, threads = len(extents), torch.get_num_threads()
    results = []
    for backend, many in (("cpp", 1), ("cpp", 3), ("plain", 1)):
        torch.manual_seed(0)
        layer = make_layer("spatial", 2, 3, spatial_dims=n, directions="all", backend=backend)
        x, state = make_input(layer, batch, extents), make_state(layer, batch, extents)
        torch.set_num_threads(many)
        try:
            output, far = layer(x, state)
            outputs = [output, *faces(far)]
            results.append([*outputs, *gradients(outputs, [x, *faces(state), *layer.parameters()])])
        finally:
            torch.set_num_threads(threads)
    assert all(torch.equal(*pair) for pair in zip(*results[:2], strict=True))
    assert_close(results[0], results[2])


@needs_kernel
def test_many_sites_at_a_step() -> None:
    """More rows than are held in cache at once, and a last group of every size."""
    for batch in (127, 240, 243):
        results = []
        for backend in ("cpp", "plain"):
            torch.manual_seed(0)
            layer = make_layer("graves-peephole", 2, 5, backend=backend)
            x = make_input(layer, batch, (3, 4))
            output = layer(x)[0]
            results.append([output, *gradients([output], [x, *layer.parameters()])])
        assert_close(*results)


@needs_kernel
@pytest.mark.usefixtures("all_threads")
@pytest.mark.parametrize(
    "options",
    [
        {"dtype": torch.float64},
        {},
        {"recompute": True},
        {"saved_gates": "bfloat16"},
        {"cell": "graves-peephole", "hidden_size": 16},
    ],
    ids=["float64", "float32", "recomputed", "bfloat16", "one vector"],
)
def test_tables_that_are_written_past_the_caches(options: dict[str, Any]) -> None:
    """A megabyte of whole lines, on one thread and on three, and the images of it one by one."""
    settings = {"cell": "spatial", "hidden_size": 32, "dtype": torch.float32, **options}
    layer = make_layer(settings.pop("cell"), 3, settings.pop("hidden_size"), backend="cpp", **settings)
    x, state = make_input(layer, 40, (16, 32)), make_state(layer, 40, (16, 32))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            output, far = layer(x, state)
            torch.manual_seed(0)
            grad = torch.randn_like(output)
            wanted = [x, *faces(state), *layer.parameters()]
            results.append([output, *faces(far), *torch.autograd.grad(output, wanted, grad)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
    output, dx = results[0][0], results[0][1 + len(faces(state))]
    for image in (slice(1), slice(39, 40)):
        alone = x[image].detach().requires_grad_()
        expected = layer(alone, spatial_lstm.State(*(tuple(face[:, image] for face in some) for some in state)))[0]
        assert_close([output[image], dx[image]], [expected, *torch.autograd.grad(expected, alone, grad[image])])


# Many threads to an image, whose shares of a step move from step to step; sums in one part and in two; images of sizes of
# their own; more sites at a step than are held in cache.
@needs_kernel
@pytest.mark.usefixtures("all_threads")
@pytest.mark.parametrize(
    ("variant", "batch", "extents", "options", "sizes"),
    [
        ("stable", 3, (9, 6), {}, None),
        ("stable", 3, (9, 6), {"directions": "all"}, None),
        ("spatial", 1, (40, 70), {}, None),
        ("graves-peephole", 1, (150, 20), {"recompute": True}, None),
        ("diagonal", 1, (40, 70), {"dtype": torch.float64}, None),
        ("graves", 1, (5, 9, 7), {"spatial_dims": 3, "directions": "all"}, None),
        ("spatial", 1, (3, 4, 3, 5), {"spatial_dims": 4}, None),
        ("stable", 3, (25, 60), {}, [[25, 2], [3, 60], [1, 1]]),
        ("spatial", 2, (5, 6), {"inputs": 900}, None),
        ("spatial", 1, (6, 4), {"hidden": 301}, None),
        ("spatial", 1, (4, 3), {"hidden": 304}, None),
        ("graves", 1, (20, 20, 20), {"spatial_dims": 3, "hidden": 5}, None),
    ],
)
def test_threads_change_no_bit(
    variant: str,
    batch: int,
    extents: tuple[int, ...],
    options: dict[str, Any],
    sizes: list[list[int]] | None,
) -> None:
    assert_threads_change_no_bit(variant, batch, extents, {"dtype": torch.float32, **options}, sizes)


@needs_kernel
@pytest.mark.usefixtures("all_threads")
@pytest.mark.parametrize(
    ("variant", "batch", "extents", "options", "sizes"),
    [
        ("spatial", 1, (20, 150), {}, None),
        ("spatial", 2, (5, 6), {"inputs": 900}, None),
        ("spatial", 1, (6, 4), {"hidden": 301}, None),
        ("spatial", 4, (30, 20), {"hidden": 64}, None),
        ("stable", 3, (25, 60), {"directions": "all"}, [[25, 2], [3, 60], [1, 1]]),
        ("spatial-extended", 1, (40, 70), {}, None),
        ("graves-peephole", 1, (150, 20), {"recompute": True}, None),
        ("diagonal", 1, (3, 4, 3, 5), {"spatial_dims": 4}, None),
    ],
)
def test_threads_change_no_bit_in_16_bits(
    variant: str, batch: int, extents: tuple[int, ...], options: dict[str, Any], sizes: list[list[int]] | None
) -> None:
    """A matrix unit takes 16 sites at a time, whoever's they are."""
    assert_threads_change_no_bit(variant, batch, extents, {"dtype": torch.bfloat16, **options}, sizes)


def assert_threads_change_no_bit(
    variant: str, batch: int, extents: tuple[int, ...], options: dict[str, Any], sizes: list[list[int]] | None
) -> None:
    """On one thread and more."""
    settings = {"inputs": 3, "hidden": 17, **options}
    layer = make_layer(variant, settings.pop("inputs"), settings.pop("hidden"), backend="cpp", **settings)
    x = make_input(layer, batch, extents)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            with torch.no_grad():
                inferred = layer(x, sizes=sizes)[0]
            output = layer(x, sizes=sizes)[0]
            results.append([inferred, output, *gradients([output], [x, *layer.parameters()])])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, results[0], strict=True))


@needs_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("variant", ["spatial", "graves", "stable"])
def test_gates_at_the_ends_of_the_range(variant: str, dtype: torch.dtype) -> None:
    """Saturated gates, and arguments near zero where precision is relative."""
    for scale in (1e-30, 1e-8, 1e-3, 30.0, 1e3, 1e30):
        results = []
        for backend in ("cpp", "plain"):
            torch.manual_seed(0)
            layer = make_layer(variant, 2, 4, backend=backend, bias=False, dtype=dtype)
            results.append(layer(make_input(layer, 2, (3, 4), grad=False) * scale)[0])
        largest = results[1].abs().max()
        assert (results[0] - results[1]).abs().max() <= 20 * torch.finfo(dtype).eps * largest


@needs_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_small_arguments_keep_their_digits(dtype: torch.dtype) -> None:
    """Of one site with all other gates at 1/2, h = tanh(tanh(x) / 4): every result to a dozen of its own last bits, not of 1's."""
    layer = make_layer("spatial", 1, 1, backend="cpp", dtype=dtype)
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        layer.get_parameter("weight_ih_l0")[3] = 1  # of i, f_0, f_1, g, o
        x = torch.logspace(-6, 1, 4001, dtype=dtype)
        x = torch.cat([x, -x])
        found = layer(x.view(-1, 1, 1, 1))[0].view(-1).double()
    expected = torch.tanh(torch.tanh(x.double()) / 4)
    assert float(((found - expected) / expected).abs().max()) < 12 * torch.finfo(dtype).eps


@needs_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("gate", ["forget", "mixing"])
@pytest.mark.parametrize("share", [1e-9, 1 / 8, float("inf")])
def test_closed_gates_are_zero(gate: str, share: float, dtype: torch.dtype) -> None:
    """So that nothing comes of states however large, neither in the output nor in the gradients; and NaN of infinite ones."""
    results, c = [], share * torch.finfo(dtype).max
    for backend in ("cpp", "plain"):
        torch.manual_seed(0)
        layer = make_layer("stable" if gate == "mixing" else "graves", 2, 3, backend=backend, dtype=dtype)
        bias = layer.get_parameter("bias_l0")
        with (
            torch.no_grad()
        ):  # of i, f, l, g, o: all weight on the second axis; of i, f_0, f_1, g, o: nothing along the first
            bias[6:9] = -2000.0 if gate == "mixing" else bias[6:9]
            bias[3:6] = -2000.0 if gate == "forget" else bias[3:6]
        x = make_input(layer, 2, (3, 4))
        near = torch.full((1, 2, 3, 4), c, dtype=dtype, requires_grad=True)
        output, state = layer(x, State((None, None), (near, None)))
        results.append([output, *gradients([output, *state.c], [x, near, *layer.parameters()])])
    assert bool(results[1][0].isnan().any()) == (c == float("inf"))
    torch.testing.assert_close(*results, equal_nan=True, rtol=1e-5, atol=1e-5)


@needs_kernel
@pytest.mark.usefixtures("all_threads")
def test_threads_flush_denormal_numbers_where_their_caller_does() -> None:
    layer = make_layer("spatial", 2, 4, directions="all", bias=False, backend="cpp", dtype=torch.float32)
    x = make_input(layer, 4, (16, 16))
    before, results = torch.get_num_threads(), []
    try:
        torch.set_num_threads(3)
        layer(x)  # threads start while it is not asked for
        if not torch.set_flush_denormal(True):
            pytest.skip("this CPU cannot")
        for threads in (1, 3):
            torch.set_num_threads(threads)
            output = layer(x * 3e-37)[0]
            results.append([output, *gradients([output], [x, *layer.parameters()])])
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)
    assert 0 < float((results[0][0] == 0).float().mean()) < 1
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    output = layer(x * 3e-38)[0]
    assert bool(((output != 0) & (output.abs() < torch.finfo(torch.float32).tiny)).any())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_in_its_image(value: float) -> None:
    layer = make_layer("spatial", 2, 5, directions="all", backend="cpp")
    x = make_input(layer, 3, (4, 5), grad=False)
    clean, _ = layer(x)
    x[1, 0, 2, 2] = value
    dirty, _ = layer(x)
    assert torch.equal(clean[[0, 2]], dirty[[0, 2]])
    if value != value:
        assert dirty[1].isnan().any(0).any()


@needs_kernel
def test_what_it_does_not_take() -> None:
    with pytest.raises(UnsuitedError, match="not in torch.float16"):
        make_layer("spatial", 2, 3, backend="cpp", dtype=torch.float16)(torch.zeros(1, 2, 2, 2, dtype=torch.float16))
    with pytest.raises(UnsuitedError, match="at most 4 axes, not 5"):
        make_layer("spatial", 2, 3, backend="cpp", spatial_dims=5)(torch.zeros(1, 2, 2, 2, 2, 2, 2).double())
    output, _ = make_layer("spatial", 2, 3, spatial_dims=5)(torch.zeros(1, 2, 2, 2, 2, 2, 2).double())
    assert output.shape == (1, 3, 2, 2, 2, 2, 2)


class MadeUpCell(DiagonalCell):
    name = "made-up"
    kernels = frozenset()


class PromisedCell(DiagonalCell):
    name = "promised"
    kernels = frozenset({"cpp"})


class FiveGates(DiagonalCell):
    def gate_names(self, axes: int) -> tuple[str, ...]:
        return (*super().gate_names(axes), "another")


@needs_kernel
def test_a_cell_that_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CELLS, "made-up", MadeUpCell())
    layer, known = spatial_lstm.SpatialLSTM(2, 3, cell="made-up"), make_layer("diagonal", 2, 3, dtype=torch.float32)
    layer.load_state_dict(known.state_dict())
    x = torch.randn(2, 2, 4, 3)
    assert_close([layer(x)[0]], [known(x)[0]])
    layer.backend = "cpp"
    with pytest.raises(UnsuitedError, match="does not know the cell 'made-up'"):
        layer(x)


@needs_kernel
def test_a_cell_that_the_compiled_library_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python and C++ name a cell alike and count its gates alike, or nothing runs."""
    monkeypatch.setitem(CELLS, "promised", PromisedCell())
    with pytest.raises(RuntimeError, match="does not provide the cell 'promised' with 2 axes"):
        spatial_lstm.SpatialLSTM(2, 3, cell="promised", backend="cpp")(torch.zeros(1, 2, 2, 2))
    monkeypatch.setitem(CELLS, "diagonal", FiveGates())
    with pytest.raises(RuntimeError, match="cell 'diagonal' with 2 axes has another number of gates than 5"):
        spatial_lstm.SpatialLSTM(2, 3, cell="diagonal", backend="cpp")(torch.zeros(1, 2, 2, 2))


@needs_kernel
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if knows("cpp", variant)])
def test_recomputed_gates_are_the_saved_ones(variant: str, dtype: torch.dtype) -> None:
    """Bit by bit, over several windows of steps."""
    results = []
    for recompute in (False, True):
        torch.manual_seed(0)
        layer = make_layer(variant, 3, 18, directions="all", backend="cpp", dtype=dtype, recompute=recompute, scale=0.1)
        x = make_input(layer, 8, (20, 17))
        output = layer(x)[0]
        results.append([output, *gradients([output], [x, *layer.parameters()])])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@needs_kernel
@pytest.mark.parametrize("merge", ["sum", "mean", "concat"])
def test_merged_directions_share_their_gradient(merge: str) -> None:
    """The gradient of a sum comes in once, of a mean and of what is concatenated once for each direction."""
    results = []
    for backend in ("cpp", "plain"):
        torch.manual_seed(0)
        layer = make_layer("spatial", 3, 5, directions="all", merge=merge, backend=backend)
        x = make_input(layer, 2, (4, 3))
        output = layer(x, sizes=[[4, 3], [2, 2]])[0]
        assert output.shape[1] == (20 if merge == "concat" else 5)
        results.append([output, *gradients([output], [x, *layer.parameters()])])
    assert_close(*results)
