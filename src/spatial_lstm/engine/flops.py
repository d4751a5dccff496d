"""What :class:`torch.utils.flop_counter.FlopCounterMode` counts for the operators: matrix products, two for a multiplication and addition.

A site multiplies what enters its gates, the input and the predecessors' h (with ``extended`` their c, too), by B h rows of weights. The
backward multiplies the gates' gradient back by the states' weights, and by the input's where its gradient is wanted; by what entered for
the gradient of each weight that is wanted; and gates that were not saved cost one forward more. Padding costs nothing.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

MATRICES = ("weight_ih", "weight_hh", "weight_ch")


def forward_flops(tensors: Sequence[Tensor], names: str, sizes: Tensor | None, *_: Any, **__: Any) -> int:
    """FLOPs of one call of the forward operator."""
    return sum(_products(tensors, names, sizes).values())


def backward_flops(tensors: Sequence[Tensor], names: str, sizes: Tensor | None, *rest: Any, **__: Any) -> int:
    """FLOPs of one call of the backward operator."""
    *_, gates, wanted = rest
    products, asked = _products(tensors, names, sizes), wanted.split(",")
    back = sum(cost for name, cost in products.items() if name != "weight_ih" or "x" in asked)
    own = sum(cost for name, cost in products.items() if name in asked)
    return back + own + (0 if gates.numel() else sum(products.values()))


def _products(tensors: Sequence[Tensor], names: str, sizes: Tensor | None) -> dict[str, int]:
    """FLOPs of one product of each weight matrix with all sites of all directions."""
    given = dict(zip(names.split(","), tensors, strict=True))
    x = given["x"]
    sites = math.prod(x.shape[:-1]) if sizes is None else int(sizes.prod(1).sum())
    return {name: 2 * sites * given[name].numel() for name in MATRICES if name in given}


def register_flops() -> None:
    """Tell torch's counter, once that is there: importing it here would bring Triton along.

    Called when the operators are made and whenever a layer is: a counter reads the formulas as it is made itself.
    """
    counter = sys.modules.get("torch.utils.flop_counter")
    if counter is None or torch.ops.spatial_lstm.forward in counter.flop_registry:
        return
    counter.register_flop_formula(torch.ops.spatial_lstm.forward, get_raw=True)(forward_flops)
    counter.register_flop_formula(torch.ops.spatial_lstm.backward, get_raw=True)(backward_flops)
