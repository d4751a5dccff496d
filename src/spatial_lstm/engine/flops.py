"""What :class:`torch.utils.flop_counter.FlopCounterMode` counts for the operators: matrix products, two for a multiplication and addition.

A site multiplies what enters its gates, the input and the predecessors' h (with ``extended`` their c, too), by B h rows of weights. The
backward multiplies the gates' gradient back by the states' weights, and by the input's where its gradient is wanted; by what entered for
the gradient of each weight that is wanted; and gates that were not saved cost one forward more. Padding costs nothing.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

MATRICES = ("weight_ih", "weight_hh", "weight_ch")


def forward_flops(tensors: Sequence[Tensor], names: str, sizes: Tensor | None, *_: Any, **__: Any) -> int:
    """FLOPs of one call of the forward operator, in tiles or not."""
    return sum(_products(tensors, names, sizes).values())


def backward_flops(tensors: Sequence[Tensor], names: str, sizes: Tensor | None, *rest: Any, **__: Any) -> int:
    """FLOPs of one call of the backward operator."""
    *_, gates, wanted = rest
    again = 0 if gates.numel() else forward_flops(tensors, names, sizes)
    return again + _gradients(tensors, names, sizes, wanted)


def tiled_backward_flops(tensors: Sequence[Tensor], names: str, sizes: Tensor | None, *rest: Any, **__: Any) -> int:
    """FLOPs of one call of the backward operator in tiles, which runs forward again."""
    return forward_flops(tensors, names, sizes) + _gradients(tensors, names, sizes, rest[-1])


FORMULAS: dict[str, Callable[..., int]] = {
    "forward": forward_flops,
    "backward": backward_flops,
    "tiled_forward": forward_flops,
    "tiled_backward": tiled_backward_flops,
}


def _gradients(tensors: Sequence[Tensor], names: str, sizes: Tensor | None, wanted: str) -> int:
    """FLOPs of going back once: to the states, to the input where that is wanted, and to the weights."""
    products, asked = _products(tensors, names, sizes), wanted.split(",")
    back = sum(cost for name, cost in products.items() if name not in ("weight_ih", "0.weight_ih") or "x" in asked)
    return back + sum(cost for name, cost in products.items() if name in asked)


def _products(tensors: Sequence[Tensor], names: str, sizes: Tensor | None) -> dict[str, int]:
    """FLOPs of one product of each weight matrix, of every layer where there are several, with all sites of all directions."""
    given = dict(zip(names.split(","), tensors, strict=True))
    x = given["x"]
    sites = math.prod(x.shape[:-1]) if sizes is None else int(sizes.prod(1).sum())
    return {name: 2 * sites * t.numel() for name, t in given.items() if name.rpartition(".")[-1] in MATRICES}


def register_flops() -> None:
    """Tell torch's counter, once that is there: importing it here would bring Triton along.

    Called when the operators are made and whenever a layer is: a counter reads the formulas as it is made itself.
    """
    counter = sys.modules.get("torch.utils.flop_counter")
    if counter is None:
        return
    for name, formula in FORMULAS.items():
        operator = getattr(torch.ops.spatial_lstm, name, None)  # those in tiles are made last
        if operator is not None and operator not in counter.flop_registry:
            counter.register_flop_formula(operator, get_raw=True)(formula)
