"""The operators under :func:`torch.vmap`, which batched vector-Jacobian products (``is_grads_batched``, ``vectorize=True``) run them in.

The layer itself takes the composite there; what meets the operators is what autograd recorded outside. One call after the other, as the
gradients of the weights are sums over a batch's sites that must be kept apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def one_by_one(operator: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """A rule for :func:`torch.library.register_vmap` that calls ``operator`` once for each entry of the batch and stacks the results."""

    def rule(info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
        def entry(i: int) -> Any:
            return operator(*(_entry(arg, dim, i) for arg, dim in zip(args, in_dims, strict=True)))

        size = info.batch_size
        results = [entry(i) for i in range(size or 1)]  # of an empty batch one is made up, for its shapes
        if isinstance(results[0], Tensor):
            return torch.stack(results)[:size], 0
        stacked = [torch.stack(same)[:size] for same in zip(*results, strict=True)]
        return type(results[0])(stacked), type(results[0])([0] * len(stacked))

    return rule


def _entry(arg: Any, dim: Any, i: int) -> Any:
    """One entry of an argument: a tensor batched along ``dim``, a list of such with as many dims, or what is the same for all.

    One of no entries is made up: of ones, as sizes must not be zero.
    """
    if isinstance(arg, (list, tuple)) and isinstance(dim, (list, tuple)):
        return [_entry(each, own, i) for each, own in zip(arg, dim, strict=True)]
    if not isinstance(arg, Tensor) or dim is None:
        return arg
    return arg.select(dim, i) if arg.shape[dim] else arg.new_ones((*arg.shape[:dim], *arg.shape[dim + 1 :]))
