"""The libraries of matrix products that the machine has, and the best of them at a product: the floor of what is made of products.

torch has MKL (another BLAS where it was built with one) and oneDNN, numpy mostly OpenBLAS.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness.threads import numpy_blas

# oneDNN's product makes a new tensor. In pieces of so many bytes these come from memory that is there already.
PIECE = 4 << 20
# Tries of every library and layout, in turns.
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


def fastest(product: Product) -> tuple[Way, dict[str, float]]:
    """The way that takes least time, and what every library reaches at its best, in FLOPs a second."""
    tried = ways(product)
    seconds = [float("inf")] * len(tried)
    for _ in range(TRIES):
        seconds = [min(before, _seconds(way.run)) for before, way in zip(seconds, tried, strict=True)]
    best: dict[str, float] = {}
    for way, taken in zip(tried, seconds, strict=True):
        best[way.library] = max(best.get(way.library, 0.0), product.flops / taken)
    return tried[seconds.index(min(seconds))], best


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
