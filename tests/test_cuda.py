"""On a CUDA device: equality with the reference, capture in a CUDA graph, ``torch.compile``. Skipped, and says so, where there is none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import spatial_lstm
from spatial_lstm import SpatialLSTM
from tests.cases import EXTENTS, SIZES, VARIANTS, assert_close, gradients, make_input, make_layer

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    pytest.mark.support("CUDA"),
]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
BACKENDS = ["plain", *(name for name in spatial_lstm.backends() if name.startswith("triton"))]


def available(backend: str) -> str:
    found = spatial_lstm.backends()[backend]
    if found != "available":
        pytest.skip(f"{backend}: {found}")
    return backend


def results(layer: SpatialLSTM, x: Tensor, sizes: Tensor | None = None) -> list[Tensor]:
    """Outputs and gradients, all in the type of x: c, carried in float32, is no more precise than the gates it is made of."""
    output, far = layer(x, sizes=sizes)
    outputs = [output, *far.h, *far.c]
    return [t.detach().to("cpu", x.dtype) for t in (*outputs, *gradients(outputs, [x, *layer.parameters()]))]


@pytest.mark.parametrize("recompute", [False, True], ids=["saved", "recomputed"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_the_reference(variant: str, backend: str, n: int, dtype: torch.dtype, recompute: bool) -> None:
    for hidden, sizes in ((5, torch.tensor(SIZES[n])), (32, None)):
        exact = make_layer(variant, 3, hidden, spatial_dims=n, directions="all", scale=0.2)
        exact.to(dtype).double()  # so that both start from the same numbers
        x = make_input(exact, 2, EXTENTS[n]).detach().to(dtype)
        layer = make_layer(variant, 3, hidden, spatial_dims=n, directions="all", dtype=dtype, recompute=recompute)
        layer.load_state_dict(exact.state_dict())
        layer.cuda().backend = available(backend)
        exact.backend = "reference"
        expected = results(exact, x.double().requires_grad_(), sizes)
        assert_close(results(layer, x.cuda().requires_grad_(), sizes), expected)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_gates_in_16_bits(variant: str, backend: str, n: int) -> None:
    """What is computed stays the same to the bit, gradients to what 16 bits can say."""
    for hidden, sizes in ((5, torch.tensor(SIZES[n])), (32, None)):
        layer = make_layer(variant, 3, hidden, spatial_dims=n, directions="all", dtype=torch.float32, scale=0.2)
        layer.cuda().backend = available(backend)
        x = make_input(layer, 2, EXTENTS[n])
        exact = results(layer, x, sizes)
        layer.saved_gates = "bfloat16"
        found = results(layer, x, sizes)
        computed = 1 + 2 * n
        assert all(torch.equal(a, b) for a, b in zip(found[:computed], exact[:computed], strict=True))
        assert_close([t.bfloat16() for t in found[computed:]], exact[computed:])


@pytest.mark.parametrize("hidden", [16, 64, 128, 200])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_tile(backend: str, dtype: torch.dtype, hidden: int) -> None:
    """More rows and features than a tile has."""
    if backend == "triton-images" and hidden > 64:
        pytest.skip("one program cannot hold as many features")
    layer = SpatialLSTM(3, hidden, directions="all").cuda().to(dtype)
    layer.backend = available(backend)
    twin = SpatialLSTM(3, hidden, directions="all", backend="plain", dtype=torch.float64).cuda()
    twin.load_state_dict(layer.state_dict())
    x = torch.randn(9, 3, 33, 21, device="cuda", dtype=dtype)
    output, expected = layer(x)[0], twin(x.double())[0]
    assert_close([output], [expected])


@pytest.mark.parametrize("backend", BACKENDS)
def test_bitwise_repeatable(backend: str) -> None:
    layer = make_layer("stable", 3, 48, directions="all", dtype=torch.float32).cuda()
    layer.backend = available(backend)
    x = make_input(layer, 3, (19, 21))
    first, second = results(layer, x), results(layer, x)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_captured_in_a_cuda_graph(backend: str) -> None:
    """Forward and backward replay on new numbers: nothing in them waits for the GPU or depends on values."""
    layer = make_layer("spatial", 3, 24, directions="all", dtype=torch.float32).cuda()
    layer.backend = available(backend)

    class Output(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)[0]

    sample = make_input(layer, 2, (7, 9))
    x = make_input(layer, 2, (7, 9))

    def run(module: torch.nn.Module) -> list[Tensor]:
        """Nothing of autograd's outlives it: torch cannot capture with nodes that another stream left."""
        output = module(x)
        return [output.detach(), *gradients([output], [x, *layer.parameters()])]

    expected = run(Output())
    graphed = torch.cuda.make_graphed_callables(Output(), (sample,))
    for a, b in zip(run(graphed), expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiled_to_reduce_overhead(backend: str) -> None:
    layer = make_layer("graves", 3, 24, directions="all", dtype=torch.float32).cuda()
    layer.backend = available(backend)
    compiled = torch.compile(layer, mode="reduce-overhead")
    for _ in range(4):  # warm up, record, replay
        x = make_input(layer, 2, (6, 5))
        expected = layer(x)[0].detach()
        grads = gradients([layer(x)[0]], [x, *layer.parameters()])
        torch.compiler.cudagraph_mark_step_begin()
        output = compiled(x)[0]
        found = [output.detach().clone(), *gradients([output], [x, *layer.parameters()])]
        assert_close(found, [expected, *grads])
