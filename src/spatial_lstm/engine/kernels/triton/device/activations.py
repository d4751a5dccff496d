# mypy: ignore-errors
"""Squashing functions in float32."""

import triton
import triton.language as tl


@triton.jit
def sigmoid(x):
    """Logistic function."""
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def tanh(x):
    """Hyperbolic tangent: by exp, and near zero, where that cancels, by its Taylor series."""
    e = tl.exp(-2.0 * tl.abs(x))
    far = (1.0 - e) / (1.0 + e)
    y = x * x
    near = x * (1.0 + y * (-0.33333333333 + y * (0.13333333333 + y * (-0.05396825397 + y * 0.02186948854))))
    return tl.where(y < 0.0625, near, tl.where(x < 0.0, -far, far))
