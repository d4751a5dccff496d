"""In which types likelihoods are computed: never in 16 bits, whatever autocast says and whatever the model's own type is."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def no_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Inside, operations run in the types they are given; tensors without memory have no autocast to turn off."""
    if device.type == "meta":
        return nullcontext()
    # A program that is made now may run under autocast later.
    on = torch.compiler.is_compiling() or torch.is_autocast_enabled(device.type)
    return torch.autocast(device.type, enabled=False) if on else nullcontext()


def wide(tensor: Tensor) -> Tensor:
    """The same numbers in at least 32 bits."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
