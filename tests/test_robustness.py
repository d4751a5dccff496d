"""Drawn cases, extreme shapes, many passes, threads and worker processes."""

from __future__ import annotations

import gc
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from spatial_lstm import SpatialLSTM, backends
from spatial_lstm.engine.layout import parse_directions
from tests.cases import VARIANTS, assert_close, faces, gradients, knows, make_input, make_layer, make_state

KERNELS = [
    name
    for name, found in backends().items()
    if found.startswith("available") and name not in ("composite", "reference")
]


@st.composite
def cases(draw: st.DrawFn) -> dict[str, object]:
    n = draw(st.integers(1, 3))
    extents = draw(st.tuples(*[st.integers(1, 5)] * n))
    batch = draw(st.integers(1, 3))
    directions = draw(st.lists(st.sampled_from(parse_directions("all", n)), min_size=1, max_size=4, unique=True))
    ragged = draw(st.booleans())
    return {
        "variant": draw(st.sampled_from(list(VARIANTS))),
        "n": n,
        "extents": extents,
        "batch": batch,
        "directions": directions,
        "sizes": [draw(st.tuples(*(st.integers(1, s) for s in extents))) for _ in range(batch)] if ragged else None,
        "near": draw(st.booleans()),
        "missing": draw(st.integers(0, n)),
        "hidden": draw(st.sampled_from([1, 2, 3, 5, 8, 17])),
        "channels": draw(st.integers(1, 4)),
        "bias": draw(st.booleans()),
        "recompute": draw(st.booleans()),
        "backend": draw(st.sampled_from(["composite", *KERNELS])),
        "dtype": draw(st.sampled_from([torch.float64, torch.float32])),
        "seed": draw(st.integers(0, 1 << 16)),
    }


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases())
def test_any_case_equals_the_reference(case: dict[str, object]) -> None:
    c = dict(case)
    assume(knows(c["backend"], c["variant"]))  # type: ignore[arg-type]
    torch.manual_seed(c["seed"])  # type: ignore[arg-type]
    options = {k: c[k] for k in ("directions", "bias", "recompute")}
    layer = make_layer(c["variant"], c["channels"], c["hidden"], spatial_dims=c["n"], scale=0.4, **options)  # type: ignore[arg-type]
    x, near = make_input(layer, c["batch"], c["extents"]), make_state(layer, c["batch"], c["extents"])  # type: ignore[arg-type]
    sizes = None if c["sizes"] is None else torch.tensor(c["sizes"])
    results = []
    for backend, dtype in (("reference", torch.float64), (c["backend"], c["dtype"])):
        layer.to(dtype).backend = backend  # type: ignore[assignment, arg-type]
        inputs = [t.detach().to(dtype).requires_grad_() for t in (x, *faces(near))]  # type: ignore[arg-type]
        h: list[Tensor | None] = list(inputs[1 : c["n"] + 1])  # type: ignore[operator]
        if c["missing"] < c["n"]:  # type: ignore[operator]
            h[c["missing"]] = None  # type: ignore[call-overload]
        state = (tuple(h), tuple(inputs[c["n"] + 1 :])) if c["near"] else None  # type: ignore[operator]
        output, far = layer(inputs[0], state, sizes=sizes)
        outputs = [output, *faces(far)]
        results.append([*outputs, *gradients(outputs, [*inputs, *layer.parameters()])])
    assert_close(results[1], results[0])


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("extents", [(1, 3000), (3000, 1), (2, 1500), (160, 170)])
def test_long_thin_and_large(backend: str, extents: tuple[int, int]) -> None:
    layer = SpatialLSTM(1, 3, directions="all", cell="stable", dtype=torch.float64, backend=backend)
    x = make_input(layer, 1, extents)
    results = []
    for name in (backend, "composite"):
        layer.backend = name
        output = layer(x)[0]
        results.append([output, *gradients([output], [x, *layer.parameters()])])
    assert_close(*results)


@pytest.mark.parametrize("backend", ["auto", "plain", "composite"])
def test_more_sites_than_can_be_counted(backend: str) -> None:
    """A copy of them, made before they are counted, would need more memory than there are addresses."""
    layer = SpatialLSTM(1, 1, channels_last=True, backend=backend)
    x = torch.zeros(1, 1, 1).expand(1 << 24, 1 << 24, 1)
    with pytest.raises(ValueError, match=r"expected at most 2147483647 sites in a batch, got 281474976710656"):
        layer(x)


@pytest.mark.parametrize("recompute", [False, True])
def test_a_thousand_passes_leave_memory_where_it_was(recompute: bool) -> None:
    layer = make_layer("spatial", 3, 4, directions="all", recompute=recompute)
    x = make_input(layer)

    def alive() -> int:
        gc.collect()
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    layer(x)[0].sum().backward()
    before = alive()
    for _ in range(1000):
        layer(x)[0].sum().backward()
    assert alive() <= before


def test_concurrent_threads_get_what_one_gets() -> None:
    layer = make_layer("graves-peephole", 3, 4, 2, directions="all")
    inputs = [make_input(layer, 2, (3 + k % 5, 4 + k % 3)) for k in range(40)]

    def run(x: Tensor) -> list[Tensor]:
        output = layer(x)[0]
        return [output, *gradients([output], [x, *layer.parameters()])]

    expected = [run(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for found, exact in zip(pool.map(run, inputs), expected, strict=True):
            assert_close(found, exact)


class Features(Dataset[Tensor]):
    """Runs a layer in whichever process loads the item."""

    def __init__(self) -> None:
        self.layer = make_layer("spatial", 1, 3, directions="all")

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        with torch.no_grad():
            output: Tensor = self.layer(torch.full((1, 4, 5), float(index), dtype=torch.float64))[0]
        return output


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than a small machine has cores
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_data_loader_workers(method: str) -> None:
    data = Features()
    expected = torch.stack([data[k] for k in range(4)])
    loader = DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context=method)
    assert torch.equal(torch.cat(list(loader)), expected)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("hidden", [8, 64])
def test_default_initialization_keeps_c_small(variant: str, hidden: int) -> None:
    """0.4 .. 1.8 here; on 256x256 for hidden sizes 8 .. 256 see `benchmarks/growth.py`. What grows with the field is far above either."""
    layer = SpatialLSTM(3, hidden, **VARIANTS[variant])
    x = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        _, far = layer(x)
    assert 0.1 < max(face.abs().max().item() for face in far.c if face is not None) < 5
    assert all(math.isfinite(face.abs().max().item()) for face in faces(far))
