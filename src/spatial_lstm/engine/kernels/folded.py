"""Activated gates in 16 bits: folded at one half, so that a gate y and 1 - abs(y) alike keep the 8 significant bits of bfloat16.

Derivatives are products of the two: those of a sigmoid y (1 - y), of a tanh (1 - y) (1 + y). Rounded as it is, a gate of 0.998 would be 1,
and its derivative zero. So up to one half the size of y is kept, and beyond it what is missing to one, in multiples of 2^-40 to tell the
two apart.
"""

from __future__ import annotations

import torch
from torch import Tensor

DTYPE = torch.bfloat16
SCALE = 2.0**40
# What is missing to one where nothing is: less than half the distance from one to its neighbor in float32, in which this is one again.
LEAST = 2.0**-26


def fold(gates: Tensor) -> Tensor:
    """Gates in [-1, 1] in :data:`DTYPE`, each within 2^-8 of the smaller of abs(y) and 1 - abs(y); NaN stays."""
    size = gates.abs()
    rest = (1 - size).clamp_(min=LEAST).mul_(SCALE)
    return torch.where(size > 0.5, rest, size).copysign_(gates).to(DTYPE)


def unfold(gates: Tensor) -> Tensor:
    """What was folded, in float32."""
    read = gates.float()
    size = read.abs()
    return torch.where(size > 1, 1 - size / SCALE, size).copysign_(read)


def is_folded(gates: Tensor, dtype: torch.dtype) -> bool:
    """Whether gates that a layer in ``dtype`` has saved are folded: they are not in its own type then."""
    return gates.dtype != dtype
