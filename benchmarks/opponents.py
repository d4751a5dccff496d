"""What the layer is compared with: the floor, ``nn.LSTM`` and the loop over sites; wavefronts are in :mod:`benchmarks.wavefronts`.

The floor of a layer with n = 2 is the matrix product of M sites, ``(M, C + 2h) x (C + 2h, 5h)``; of a training step, this one and the two
of the same size that give the gradients of input and weights. They write into memory that is there already, which no layer that returns
new tensors can do, and each in the fastest of the machine's libraries and of the layouts that these take (on several threads, of the
libraries that share theirs). In four directions there are four times as many sites.
"""

from __future__ import annotations

import math
from copy import deepcopy
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import blas
from benchmarks.blas import Product
from benchmarks.fields import Field, Size, require_equal, run_layer
from benchmarks.harness import Contestant
from spatial_lstm import SpatialLSTM, reference

# Lattice points that the loop over sites is run on; the rest is extrapolated.
NAIVE_SITES = 1024


def blocks(axes: int) -> int:
    """B, the number of gate blocks of the cell that benchmarks run, ``"spatial"``."""
    return len(reference.CELLS["spatial"].gates(axes))


def flops(size: Size) -> int:
    """Multiplications and additions of the forward's products, in all directions."""
    n = len(size.extents)
    return 2 * size.sites * size.ways * blocks(n) * size.hidden * (size.channels + n * size.hidden)


def floor(size: Size, *, training: bool) -> Contestant:
    """The products alone, each by the library and in the layout that take least time; ``notes`` tell of the libraries.

    ``"won"`` names the library of each product, ``"gflops"`` what each library reaches on all of them, ``"missing"`` what is not there.
    """
    n = len(size.extents)
    columns, rows, sites = size.channels + n * size.hidden, blocks(n) * size.hidden, size.sites * size.ways
    x, weight, dz = torch.randn(sites, columns), torch.randn(columns, rows), torch.randn(sites, rows)
    products = [Product(x, weight), Product(dz, weight.t()), Product(x.t(), dz, weight=False)][: 3 if training else 1]
    ways, rates = blas.fastest(products)

    def run() -> list[Tensor]:
        return [way.run() for way in ways]

    def expected() -> list[Tensor]:
        return [way.expected() for way in ways]

    gflops = {name: rate / 1e9 for name, rate in rates.items()}
    notes = {"won": [way.library for way in ways], "gflops": gflops, "missing": blas.missing()}
    return Contestant("floor", run, expected, notes=notes)


def lstm_size(size: Size) -> tuple[int, int, int]:
    """Steps, batch and features of an ``nn.LSTM`` on as many sites and FLOPs: ``4g (C + g) = B h (C + n h)``."""
    n = len(size.extents)
    steps = sum(size.extents) - n + 1
    sites = size.sites * size.ways
    per_site = flops(size) / (2 * sites)
    features = (math.sqrt(size.channels**2 + per_site) - size.channels) / 2
    return steps, max(1, round(sites / steps)), max(1, round(features))


def lstm_flop_ratio(size: Size) -> float:
    """FLOPs of :func:`lstm`'s products over the layer's."""
    steps, batch, features = lstm_size(size)
    return 2 * steps * batch * 4 * features * (size.channels + features) / flops(size)


def lstm(size: Size, *, training: bool, dtype: torch.dtype = torch.float32) -> Contestant:
    """``nn.LSTM`` on as many sites and FLOPs as a layer, in as many steps, in its own fastest layout (time first)."""
    steps, batch, features = lstm_size(size)
    return lstm_on(steps, batch, size.channels, features, training=training, dtype=dtype)


def lstm_on(
    steps: int, batch: int, channels: int, features: int, *, training: bool, dtype: torch.dtype = torch.float32
) -> Contestant:
    """``nn.LSTM``, checked against the same weights in our layer in one dimension, in float64, which it is to equal in float64, too."""
    torch.manual_seed(0)
    module = nn.LSTM(channels, features, dtype=dtype)
    x, grad = torch.randn(steps, batch, channels, dtype=dtype), torch.randn(steps, batch, features, dtype=dtype)

    def run(own: nn.LSTM = module, x: Tensor = x, grad: Tensor = grad) -> list[Tensor]:
        if not training:
            with torch.no_grad():
                return [own(x)[0]]
        leaf = x.detach().requires_grad_()
        output = own(leaf)[0]
        return [output, *torch.autograd.grad(output, [leaf, *own.parameters()], grad)]

    def expected() -> list[Tensor]:
        exact = lstm_expected(module, x, grad if training else None)
        require_equal(
            "nn.LSTM in float64", run(deepcopy(module).double(), x.double(), grad.double()), "the composite", exact
        )
        return exact

    return Contestant("nn.LSTM", run, expected)


def layer_of(module: nn.LSTM, dtype: torch.dtype = torch.float32) -> SpatialLSTM:
    """Our layer with the weights of an ``nn.LSTM``; it takes ``(N, L, C)``, whatever that one takes."""
    twin = nn.LSTM(module.input_size, module.hidden_size, batch_first=True, dtype=dtype)
    twin.load_state_dict(module.state_dict())
    return SpatialLSTM.from_lstm(twin)


def lstm_expected(module: nn.LSTM, x: Tensor, grad: Tensor | None) -> list[Tensor]:
    """What ``nn.LSTM`` should give for input ``(L, N, C)``, time first, by the composite in float64."""
    layer = layer_of(module, torch.float64)  # before the biases are added
    layer.backend = "composite"
    results = run_layer(layer, x.transpose(0, 1).double(), None if grad is None else grad.transpose(0, 1).double())
    results[:2] = [tensor.transpose(0, 1) for tensor in results[:2]]
    return results if grad is None else [*results, results[-1]]  # nn.LSTM has two biases


def site_loop(field: Field, *, training: bool) -> Contestant:
    """One site after the other, on the field's first corner where there are many; its time is then multiplied up."""
    height, width = field.size.extents
    height = min(height, math.isqrt(NAIVE_SITES))
    width = min(width, NAIVE_SITES // height)
    corner = Size(field.size.batch, (height, width), field.size.channels, field.size.hidden)
    layer = field.make_layer("composite")
    x, grad = (t[:, :height, :width].clone() for t in (field.x, torch.randn_like(field.grad)))
    run = partial(_run_sites, layer, x, grad if training else None)

    @cache
    def expected() -> list[Tensor]:
        twin = field.make_layer("composite", dtype=torch.float64)
        return run_layer(twin, x.double(), grad.double() if training else None)

    return Contestant("site loop", run, expected, field.size.sites / corner.sites)


def _run_sites(layer: SpatialLSTM, x: Tensor, grad: Tensor | None) -> list[Tensor]:
    weights = [getattr(layer, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias")]
    if grad is None:
        with torch.no_grad():
            return [_loop(x, *weights)]
    leaf = x.detach().requires_grad_()
    output = _loop(leaf, *weights)
    return [output, *torch.autograd.grad(output, [leaf, *weights], grad)]


def _loop(x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> Tensor:
    """The two-dimensional cell as one would write it first, ``(N, H, W, C)`` to ``(N, H, W, h)``; one product a site."""
    batch, height, width, _ = x.shape
    zero = x.new_zeros((batch, weight_hh.shape[1] // 2))
    weight = torch.cat([weight_ih, weight_hh], dim=1)
    above = [(zero, zero)] * width
    output = []
    for row in x.unbind(1):
        left = (zero, zero)
        for j, site in enumerate(row.unbind(1)):
            (h_up, c_up), (h_left, c_left) = above[j], left
            z = functional.linear(torch.cat([site, h_up, h_left], dim=1), weight, bias)
            i, f_up, f_left, g, o = z.chunk(5, dim=1)
            c = i.sigmoid() * g.tanh() + f_up.sigmoid() * c_up + f_left.sigmoid() * c_left
            left = above[j] = ((o.sigmoid() * c).tanh(), c)
            output.append(left[0])
    return torch.stack(output, dim=1).view(batch, height, width, -1)
