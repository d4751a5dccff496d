"""The libraries of matrix products that the machine has, and the best of them at a product: the floor of what is made of products.

torch has MKL (another BLAS where it was built with one) and oneDNN, numpy mostly OpenBLAS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness.threads import numpy_blas

# oneDNN's product makes a new tensor. In pieces of so many bytes these come from memory that is there already.
PIECE = 4 << 20
# Tries of every layout, in turns.
TRIES = 5

# (M, K), (K, N), into (M, N)
Multiply = Callable[[Tensor, Tensor, Tensor], Tensor]


class Product(NamedTuple):
    """A matrix product to be timed: ``a`` (M, K) by ``b`` (K, N); ``weight`` where b may be stored in either order."""

    a: Tensor
    b: Tensor
    weight: bool = True

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * self.a.shape[0] * self.a.shape[1] * self.b.shape[1]


class Way(NamedTuple):
    """A library, and the operands as it is handed them; ``transposed`` if the result is."""

    library: str
    multiply: Multiply
    a: Tensor
    b: Tensor
    out: Tensor
    transposed: bool

    def run(self) -> Tensor:
        """The product; of oneDNN its last rows."""
        return self.multiply(self.a, self.b, self.out)

    def expected(self) -> Tensor:
        """The same in float64."""
        rows = self.run().shape[0]
        return torch.mm(self.a[-rows:].double(), self.b.double())


def libraries() -> dict[str, Multiply]:
    """Every library that is there."""
    found: dict[str, Multiply] = {_torch_blas(): _by_torch}
    if torch.backends.mkldnn.is_available():
        found["oneDNN"] = _by_onednn
    if (name := numpy_blas()) is not None:
        found[f"numpy's {name}" if name in found else name] = _by_numpy
    return found


def missing() -> list[str]:
    """What there is not, and why."""
    reasons = []
    if not torch.backends.mkldnn.is_available():
        reasons.append("oneDNN: torch was built without it")
    if numpy_blas() is None:
        reasons.append(
            "numpy's BLAS: threadpoolctl, which holds it to a number of threads, is not installed or does not know it"
        )
    return reasons


def ways(product: Product) -> list[Way]:
    """Every library with the operands as they are, with the weights stored the other way round, and with the result transposed."""
    a, b, _ = product
    out = a.new_empty(a.shape[0], b.shape[1])
    turned = a.new_empty(b.shape[1], a.shape[0])
    found = []
    for name, multiply in libraries().items():
        found += [Way(name, multiply, a, b, out, False), Way(name, multiply, b.t(), a.t(), turned, True)]
        if product.weight:
            other = b.t().contiguous().t()
            found.append(Way(name, multiply, a, other, out, False))
    return found


def fastest(products: Sequence[Product]) -> tuple[list[Way], dict[str, float]]:
    """The ways that together take least time, and what every library reaches at its best on all of them, in FLOPs a second.

    On several threads all are of one pool of threads, torch's or numpy's: threads that wait for work by spinning hold up those of another.
    """
    tried = [_best(product) for product in products]
    pools = [list(libraries())]
    if torch.get_num_threads() > 1:
        pools = [[name for name, way in libraries().items() if (way is _by_numpy) == own] for own in (False, True)]
    choices = [[min((best[name] for name in pool), key=_taken) for best in tried] for pool in pools if pool]
    chosen = min(choices, key=lambda found: sum(map(_taken, found)))
    flops = sum(product.flops for product in products)
    rates = {name: flops / sum(_taken(best[name]) for best in tried) for name in libraries()}
    return [way for _, way in chosen], rates


def _best(product: Product) -> dict[str, tuple[float, Way]]:
    """The least seconds of every library, and the way that takes them; the libraries one after the other, each in turns of its ways."""
    tried, best = ways(product), {}
    for name in libraries():
        own = [way for way in tried if way.library == name]
        seconds = [float("inf")] * len(own)
        for _ in range(TRIES):
            seconds = [min(before, _seconds(way.run)) for before, way in zip(seconds, own, strict=True)]
        best[name] = min(zip(seconds, own, strict=True), key=_taken)
    return best


def _taken(found: tuple[float, Way]) -> float:
    return found[0]


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _torch_blas() -> str:
    return "MKL" if torch.backends.mkl.is_available() else "torch's BLAS"


def _by_torch(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    return torch.mm(a, b, out=out)


def _by_numpy(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    np.matmul(a.numpy(), b.numpy(), out=out.numpy())
    return out


def _by_onednn(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    rows = max(1, PIECE // (out.element_size() * out.shape[1]))
    last = out
    for piece in a.split(rows):
        del last  # whose memory the next one takes
        last = torch.ops.mkldnn._linear_pointwise(piece, b.t(), None, "none", [], "")
    return last
