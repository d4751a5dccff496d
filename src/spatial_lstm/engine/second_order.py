"""Derivatives of the operators' backward: the composite is differentiated twice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spatial_lstm.engine import composite
from spatial_lstm.engine.autocast import no_autocast
from spatial_lstm.engine.problem import Tensors


def differentiate_backward(
    inputs: Sequence[Tensor | None],
    sizes: Tensor | None,
    directions: str,
    cell: str,
    incoming: Sequence[Tensor | None],
    grads: Sequence[Tensor | None],
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Vector-Jacobian product of the backward.

    Args:
        inputs: The eight tensors that the layer was given.
        sizes: As the layer was given them.
        directions: Likewise.
        cell: Likewise.
        incoming: Gradients of its three outputs, that the backward was given.
        grads: Gradients of what the backward returned, one for each input.

    Returns:
        Gradients of ``inputs`` and of ``incoming``, None where there is none to give.
    """
    higher = torch.is_grad_enabled()  # a third derivative is to follow
    with torch.enable_grad(), no_autocast(_device_type(inputs)):
        primals, cotangents = ([_alias(t, higher) for t in group] for group in (inputs, incoming))
        outputs = composite.forward(Tensors._make(primals), sizes, directions, cell)
        used = [(out, cot) for out, cot in zip(outputs, cotangents, strict=True) if cot is not None]
        asked = [
            (t, g) for t, g in zip(primals, grads, strict=True) if t is not None and g is not None and t.requires_grad
        ]
        if not used or not asked:
            return [None] * len(inputs), [None] * len(incoming)
        first = torch.autograd.grad(
            [out for out, _ in used],
            [t for t, _ in asked],
            [cot for _, cot in used],
            create_graph=True,
            allow_unused=True,
        )
        reached = [(f, g) for f, (_, g) in zip(first, asked, strict=True) if f is not None and f.requires_grad]
        if not reached:
            return [None] * len(inputs), [None] * len(incoming)
        leaves = [t for t in (*primals, *cotangents) if t is not None and t.requires_grad]
        second: Sequence[Tensor | None] = torch.autograd.grad(
            [f for f, _ in reached], leaves, [g for _, g in reached], create_graph=higher, allow_unused=True
        )
    by_leaf = {id(leaf): grad for leaf, grad in zip(leaves, second, strict=True)}
    to_inputs, to_incoming = ([by_leaf.get(id(t)) for t in group] for group in (primals, cotangents))
    return to_inputs, to_incoming


def _alias(t: Tensor | None, higher: bool) -> Tensor | None:
    """A fresh node to differentiate with respect to, tied to ``t``'s own history where that is still needed."""
    if t is None:
        return None
    return t.view_as(t) if higher and t.requires_grad else t.detach().requires_grad_(t.requires_grad)


def _device_type(inputs: Sequence[Tensor | None]) -> str:
    return next(t.device.type for t in inputs if t is not None)
