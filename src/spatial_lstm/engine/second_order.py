"""Where the operators' own backward does not serve: what they compute in plain torch is differentiated, once or twice.

``compute`` is that: from tensors by name to a few results, differentiably and to any order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from spatial_lstm.engine.autocast import no_autocast

Compute = Callable[[dict[str, Tensor]], Sequence[Tensor]]


def differentiate_forward(
    compute: Compute, given: Mapping[str, Tensor], grads: Sequence[Tensor | None], wanted: Sequence[str]
) -> dict[str, Tensor | None]:
    """Vector-Jacobian product of ``compute``: the ``wanted`` gradients by name, differentiably where gradients are recorded."""
    higher = torch.is_grad_enabled()
    with torch.enable_grad(), no_autocast(_device_type(given)):
        primals = {name: _alias(tensor, higher) for name, tensor in given.items()}
        used = [(out, grad) for out, grad in zip(compute(primals), grads, strict=True) if grad is not None]
        found: Sequence[Tensor | None] = torch.autograd.grad(
            [out for out, _ in used],
            [primals[name] for name in wanted],
            [grad for _, grad in used],
            create_graph=higher,
            allow_unused=True,
        )
    return dict(zip(wanted, found, strict=True))


def differentiate_backward(
    compute: Compute,
    given: Mapping[str, Tensor],
    incoming: Sequence[Tensor | None],
    grads: Mapping[str, Tensor | None],
) -> tuple[dict[str, Tensor | None], list[Tensor | None]]:
    """Vector-Jacobian product of a backward of ``compute``.

    Args:
        compute: See the module.
        given: What it computed from.
        incoming: Gradients of its results, that the backward was given.
        grads: Gradients of what the backward returned, by the names of ``given``.

    Returns:
        Gradients of ``given`` by name and of ``incoming``, none or None where there is none to give.
    """
    higher = torch.is_grad_enabled()  # a third derivative is to follow
    with torch.enable_grad(), no_autocast(_device_type(given)):
        primals = {name: _alias(tensor, higher) for name, tensor in given.items()}
        cotangents = [None if t is None else _alias(t, higher) for t in incoming]
        used = [(out, cot) for out, cot in zip(compute(primals), cotangents, strict=True) if cot is not None]
        asked = [(primals[name], g) for name, g in grads.items() if g is not None and primals[name].requires_grad]
        if not used or not asked:
            return {}, [None] * len(incoming)
        first = torch.autograd.grad(
            [out for out, _ in used],
            [t for t, _ in asked],
            [cot for _, cot in used],
            create_graph=True,
            allow_unused=True,
        )
        reached = [(f, g) for f, (_, g) in zip(first, asked, strict=True) if f is not None and f.requires_grad]
        if not reached:
            return {}, [None] * len(incoming)
        leaves = [t for t in (*primals.values(), *cotangents) if t is not None and t.requires_grad]
        second: Sequence[Tensor | None] = torch.autograd.grad(
            [f for f, _ in reached], leaves, [g for _, g in reached], create_graph=higher, allow_unused=True
        )
    by_leaf = {id(leaf): grad for leaf, grad in zip(leaves, second, strict=True)}
    return {name: by_leaf.get(id(t)) for name, t in primals.items()}, [by_leaf.get(id(t)) for t in cotangents]


def _device_type(given: Mapping[str, Tensor]) -> str:
    return next(iter(given.values())).device.type


def _alias(t: Tensor, higher: bool) -> Tensor:
    """A fresh node to differentiate with respect to, tied to ``t``'s own history where that is still needed."""
    return t.view_as(t) if higher and t.requires_grad else t.detach().requires_grad_(t.requires_grad)
