r"""Which parameters a layer has, how they are read, and what they start from.

The cell state of ``"spatial"`` and ``"graves"`` adds up over all monotone paths through the grid, and there are binomially many. If the
forget gates together open to more than one, c grows exponentially with the distance from the near faces. So the forget biases start at
logit(0.9 / n), where sum_k sigma(f_k) = 0.9, the recurrent weights are drawn small, from U(-0.25, 0.25) / sqrt(h), so that the gates stay
near there, and the input weights from U(-1, 1) / sqrt(h). ``"stable"`` and ``"diagonal"`` have one forget gate whatever n is, and every
cell has one when n = 1; it starts at +2, as is customary for LSTMs. All other biases start at zero, and so do ``weight_peephole`` and
``weight_ch``: through them c would open its own forget gates, so a layer starts without and learns them. Measured by
``benchmarks/growth.py``: with recurrent weights as wide as those of :class:`torch.nn.LSTM`, c overflows float32 on a 256x256 image.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spatial_lstm.engine import Cell, autocast_dtype, check_memory, check_weight
from spatial_lstm.filling import fill_blocks

# sum_k sigma(f_k) at the start: below one, so that c dies out with the distance; benchmarks/growth.py has the figures
OPENING = 0.9
SINGLE_FORGET_BIAS = 2.0
# Half widths of the uniform distributions, times sqrt(h); everything else starts at zero.
WIDTHS = {"weight_ih": 1.0, "weight_hh": 0.25}


def default_forget_bias(forget_gates: int) -> float:
    """Where the forget gates start, so that together they open to less than one."""
    if forget_gates == 1:
        return SINGLE_FORGET_BIAS
    each = OPENING / forget_gates
    return math.log(each / (1 - each))


@torch.no_grad()
def draw(tensor: Tensor, name: str, cell: Cell, axes: int, hidden: int, forget_bias: float | None) -> None:
    """Fill ``tensor`` with what the parameter of the short name ``name``, as in ``Weights``, starts from."""
    bound = WIDTHS.get(name, 0.0) / math.sqrt(hidden)
    nn.init.uniform_(tensor, -bound, bound)
    forget = cell.forget_blocks(axes)
    if name == "bias" and forget:
        start = default_forget_bias(len(forget)) if forget_bias is None else forget_bias
        fill_blocks(tensor, [start if block in forget else 0.0 for block in range(cell.blocks(axes))])


def reset(
    module: nn.Module, full_name: str, name: str, cell: Cell, axes: int, hidden: int, forget_bias: float | None
) -> None:
    """Draw one parameter of ``module`` anew, through its parametrization where it has one.

    Raises:
        RuntimeError: If it is no parameter, or its parametrization has no ``right_inverse``: drawing it would have no effect.
    """
    tensor = getattr(module, full_name)
    if parametrize.is_parametrized(module, full_name):
        start = torch.empty_like(tensor)
        draw(start, name, cell, axes, hidden, forget_bias)
        with torch.no_grad():
            setattr(module, full_name, start)
    elif isinstance(tensor, nn.Parameter):
        draw(tensor, name, cell, axes, hidden, forget_bias)
    else:
        raise RuntimeError(
            f"expected {full_name} to be a Parameter to draw anew, got a {type(tensor).__name__} computed from others"
        )


class Reader:
    """Reads a module's weights, each once, as a parametrization may take its time or change by being read; and checks them.

    Whatever put a weight there, it has to be a dense tensor of the shape that the module's options ask for, and all of one dtype and
    device, unless autocast is to cast them anyway.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._parameters = module._parameters
        self._like: Tensor | None = None

    def __call__(self, full_name: str, shape: tuple[int, ...]) -> Tensor:
        """Return the weight of this name.

        Raises:
            ValueError: If it is not there, or does not fit.
            TypeError: If it is no Tensor.
        """
        found: Tensor | None = self._parameters.get(full_name)
        like = self._like
        if (
            found is None
            or found.shape != shape
            or found.layout != torch.strided
            or (like is not None and (found.dtype != like.dtype or found.device != like.device))
        ):
            found = self._read(full_name, shape)
        if like is None:
            self._like = found
        return found

    def stack(self, full_names: Sequence[str], shape: tuple[int, ...]) -> Tensor:
        """Return the weights of these names in a tensor of their own, of one name as it is.

        Raises:
            ValueError: As for one.
            TypeError: Likewise.
            RuntimeError: If the memory of one of several was freed.
        """
        found = [self(name, shape) for name in full_names]
        if len(found) == 1:
            return found[0]
        if not torch.compiler.is_compiling():
            check_memory(dict(zip(full_names, found, strict=True)))
        return torch.stack(found)

    def _read(self, full_name: str, shape: tuple[int, ...]) -> Tensor:
        """The same of any weight, be it a parameter or not."""
        try:
            found = getattr(self._module, full_name)
        except AttributeError as error:
            raise self._missing(full_name) from error
        like = self._like
        to_be_cast = like is not None and autocast_dtype(like.device.type) is not None
        return check_weight(full_name, found, shape, None if to_be_cast else like)

    def _missing(self, full_name: str) -> ValueError:
        computed = inspect.getattr_static(type(self._module), full_name, None)
        if isinstance(computed, property) and computed.fget is not None:
            computed.fget(self._module)  # a parametrization that fails: its own error says more
        return ValueError(f"expected a parameter {full_name}, as {self._module!r} asks for, got none")
