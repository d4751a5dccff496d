"""Autocast by hand: a custom operator can register but one type for it, and c must stay in float32."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")

# Asked once: up to 2.11, torch cannot compile the question. A type that a user's own backend renames has autocast.
_WITHOUT = frozenset(
    device_type
    for device_type in ("cpu", "cuda", "hpu", "ipu", "maia", "meta", "mps", "mtia", "vulkan", "xla", "xpu")
    if not torch.amp.is_autocast_available(device_type)
)


def autocast_dtype(device_type: str) -> torch.dtype | None:
    """The type to compute in under autocast; None outside it."""
    if device_type not in _WITHOUT and torch.is_autocast_enabled(device_type):
        return torch.get_autocast_dtype(device_type)
    return None


def no_autocast(device_type: str) -> AbstractContextManager[object]:
    """Inside, operations run in the types they are given."""
    return nullcontext() if autocast_dtype(device_type) is None else torch.autocast(device_type, enabled=False)


def without_autocast(device_type: str, compute: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in :func:`no_autocast`, at no more cost than a question where there is none."""
    if autocast_dtype(device_type) is None:
        return compute(*args, **kwargs)
    with torch.autocast(device_type, enabled=False):
        return compute(*args, **kwargs)


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """``tensor`` in ``dtype``; like autocast it leaves float64, and what is no floating tensor, alone."""
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(dtype)
