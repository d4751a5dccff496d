"""Writing what a parameter starts from, by a function of :mod:`torch.nn.init`.

Who loads weights or builds a network without them has those functions spare a parameter, and none that writes past them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def fill(tensor: Tensor, values: Tensor) -> None:
    """Write ``values``, of the same shape, into the whole of ``tensor``, which may be a DTensor; unless somebody has it spared."""
    nn.init.constant_(tensor, _Values(values))  # type: ignore[arg-type]


def fill_blocks(tensor: Tensor, starts: Sequence[float]) -> None:
    """Fill a vector that has so many blocks of one length, each with its number."""
    length = len(tensor) // len(starts)
    fill(tensor, torch.cat([tensor.new_full((length,), start) for start in starts]))


class _Values:
    """Stands for the constant: :mod:`torch.nn.init` has no function that writes what is computed elsewhere."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Tensor],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Tensor:
        """What ``tensor.fill_(values)`` does."""
        tensor, given = args
        copied: Tensor = tensor.copy_(given.values)
        return copied
