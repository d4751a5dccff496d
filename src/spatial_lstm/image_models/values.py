"""What values a tensor holds, asked where it may hold none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def values_of(compute: Callable[[], Tensor]) -> Any:
    """Return what a computed tensor holds, as ``tolist``; None where it has a shape alone, for a program is compiled, or the tensor is
    batched by vmap, fake or on the meta device.
    """
    if torch.compiler.is_compiling():
        return None
    try:
        return compute().tolist()
    except RuntimeError:  # how such tensors say so
        return None
