r"""Which parameters a layer has, and what they start from.

The cell state of ``"spatial"`` and ``"graves"`` adds up over all monotone paths through the grid, and there are binomially many. If the
forget gates together open to more than one, c grows exponentially with the distance from the near faces. So the forget biases start at
logit(0.9 / n), where sum_k sigma(f_k) = 0.9, the recurrent weights are drawn small, from U(-0.25, 0.25) / sqrt(h), so that the gates stay
near there, and the input weights from U(-1, 1) / sqrt(h). ``"stable"`` has one forget gate for all axes, and every cell has one when
n = 1; it starts at the customary +2. All other biases start at zero, and so do ``weight_peephole`` and ``weight_ch``: through them c would
open its own forget gates, so a layer starts without and learns them. Measured by ``benchmarks/growth.py``: with recurrent weights as wide
as those of :class:`torch.nn.LSTM`, c overflows float32 on a 256x256 image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

NAMES = ("weight_ih", "weight_hh", "bias", "weight_peephole", "weight_ch")


def parameter_shapes(
    input_size: int, hidden_size: int, axes: int, *, bias: bool, peephole: bool, extended: bool
) -> dict[str, tuple[int, ...] | None]:
    """Shape of each parameter of one direction, None for those it does not have, in the order of :data:`NAMES`."""
    rows = (3 + axes) * hidden_size
    return {
        "weight_ih": (rows, input_size),
        "weight_hh": (rows, axes * hidden_size),
        "bias": (rows,) if bias else None,
        "weight_peephole": (2 * axes + 1, hidden_size) if peephole else None,
        "weight_ch": (rows, axes * hidden_size) if extended else None,
    }


def default_forget_bias(axes: int, forget_gates: int) -> float:
    """Where the forget gates start, so that together they open to less than one."""
    return 2.0 if forget_gates == 1 else math.log(0.9 / axes / (1 - 0.9 / axes))


@torch.no_grad()
def initialise(
    parameters: dict[str, Tensor | None], hidden_size: int, axes: int, forget_gates: int, forget_bias: float | None
) -> None:
    """Draw one direction's parameters, given by their names in :data:`NAMES`."""
    width = 1 / math.sqrt(hidden_size)
    bounds = {"weight_ih": width, "weight_hh": 0.25 * width}
    for name, parameter in parameters.items():
        if parameter is not None:
            bound = bounds.get(name, 0.0)
            nn.init.uniform_(parameter, -bound, bound)
    bias = parameters["bias"]
    if bias is not None:
        start = default_forget_bias(axes, forget_gates) if forget_bias is None else forget_bias
        bias[hidden_size : (1 + forget_gates) * hidden_size] = start
