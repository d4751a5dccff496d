"""What the CPU can do at most: multiply-adds in registers, compiled as the kernel is; without a compiler the rate of a large product."""

from __future__ import annotations

import contextlib
import ctypes
import tempfile
import time
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.harness import Contestant
from spatial_lstm.engine.kernels.cpp.compiler import BuildError, compilers, optional_flags, run_compiler
from spatial_lstm.engine.kernels.cpp.recipe import SOURCE

# What tables call it.
FMA, PRODUCT = "FMA peak", "product's peak"
# FLOPs of a thread's turn, some 5 ms.
TURN = 5e8
# Of the product that serves where nothing can be compiled.
SIDE = 1024
SECONDS = 60.0
LOOP = """
#include "exported.hpp"
#include "vector.hpp"
// Twelve chains hide a latency of four cycles behind three instructions a cycle, and fit into sixteen registers.
constexpr int CHAINS = 12;
EXPORTED int64_t flops_of_a_round() { return 2 * CHAINS * LANES<float>; }
EXPORTED float multiply_adds(int64_t rounds, float half, float step) {
    Vector<float> sums[CHAINS];  // that begin apart, lest a compiler take them for one
    for (int k = 0; k < CHAINS; ++k) sums[k] = fill(k * step);
    const Vector<float> factor = fill(half);
    for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
        for (int k = 0; k < CHAINS; ++k) sums[k] = sums[k] * factor + factor;
    }
    Vector<float> sum = {};
    for (int k = 0; k < CHAINS; ++k) sum += sums[k];
    return sum[0] / CHAINS;
}
"""


def peak(flops: float) -> Contestant:
    """The time that so many FLOPs take at the peak of as many cores as torch takes threads: that of one, alone, times their number.

    (Threads at once would share the machine with what is left of others' threads that wait, and seem slower than they are.)
    """
    library = _loop()
    return _product(flops) if library is None else _multiply_adds(library, flops / torch.get_num_threads())


def _multiply_adds(library: ctypes.CDLL, flops: float) -> Contestant:
    rounds = round(TURN / library.flops_of_a_round())

    def run() -> list[Tensor]:
        return [torch.tensor([library.multiply_adds(rounds, 0.5, 0.125)])]

    # x = x / 2 + 1 / 2 ends at 1
    return Contestant(
        FMA, run, lambda: [torch.ones(1, dtype=torch.float64)], flops / (rounds * library.flops_of_a_round())
    )


def _product(flops: float) -> Contestant:
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    out = torch.empty(SIDE, SIDE)

    def run() -> list[Tensor]:
        return [torch.mm(a, b, out=out)]

    return Contestant(PRODUCT, run, lambda: [torch.mm(a.double(), b.double())], flops / (2 * SIDE**3))


@cache
def _loop() -> ctypes.CDLL | None:
    """The compiled loop; None where no compiler makes it."""
    for compiler in compilers():
        deadline = time.monotonic() + SECONDS
        with contextlib.suppress(BuildError, OSError), tempfile.TemporaryDirectory() as folder:
            source, output = Path(folder, "loop.cpp"), Path(folder, "loop.so")
            source.write_text(LOOP)
            flags = [*optional_flags(compiler, Path(folder), deadline), f"-I{SOURCE}"]
            run_compiler(compiler, flags, [source], output, deadline)
            library = ctypes.CDLL(str(output))
            library.flops_of_a_round.restype = ctypes.c_int64
            library.multiply_adds.argtypes = [ctypes.c_int64, ctypes.c_float, ctypes.c_float]
            library.multiply_adds.restype = ctypes.c_float
            return library
    return None
