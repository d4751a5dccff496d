# mypy: ignore-errors
"""Gates as they are saved: as they are, or in 16 bits, folded as in :mod:`spatial_lstm.engine.kernels.folded`."""

import triton
import triton.language as tl


@triton.jit
def load_gate(gates, block: tl.constexpr, mask, H: tl.constexpr, FOLDED: tl.constexpr):
    """One of a site's activated gates, in float32."""
    gate = tl.load(gates + block * H, mask=mask, other=0.0).to(tl.float32)
    if FOLDED:
        size = tl.abs(gate)
        size = tl.where(size > 1.0, 1.0 - size * (2.0**-40), size)
        gate = tl.where(gate < 0.0, -size, size)
    return gate


@triton.jit
def fold(gate):
    """A gate in [-1, 1], ready to be rounded."""
    size = tl.abs(gate)
    rest = 1.0 - size
    rest = tl.where(rest < 2.0**-26, 2.0**-26, rest)
    size = tl.where(size > 0.5, rest * (2.0**40), size)
    return tl.where(gate < 0.0, -size, size)
