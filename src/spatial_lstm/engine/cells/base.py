"""What every cell provides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor


class Cell(ABC):
    r"""The pointwise part of a site: from gate pre-activations and predecessors' cell states to ``c`` and ``h``, and back.

    A cell is asked for its gates: whatever has a row block per gate (weights, biases, tables) takes their number from :meth:`blocks`.

    Shapes, with ``...`` any leading dimensions, n axes, B gate blocks and h features:
    ``z``, ``gates``, ``dz``: ``(..., B, h)``; ``c_prev``, ``dc_prev``: ``(..., n, h)``; ``c``, ``h``, ``dc``, ``dh``: ``(..., h)``;
    ``peephole``: None or ``(..., 2n + 1, h)`` that broadcasts, rows ``i`` of axis 0 .. n-1, ``f_0`` .. ``f_{n-1}``, ``o``.

    Both methods compute in the dtype of ``c_prev``, which ``z`` must have too. Activated gates lie in [-1, 1], which
    :mod:`spatial_lstm.engine.kernels.folded` relies on.

    Attributes:
        name: What users type.
        takes_peephole: Whether it has the diagonal peepholes of Graves; its gates are then i, f_0 .. f_{n-1}, g, o.
        takes_extended: Whether the predecessors' c may enter the gates through a dense matrix.
        is_lstm: Whether it is :class:`torch.nn.LSTM` for one axis, peepholes aside.
        kernels: Which of the kernels ``"cpp"`` and ``"triton"`` have its equations in their own language. All others call the methods
            below, and so run any cell.
    """

    name: ClassVar[str]
    takes_peephole: ClassVar[bool] = False
    takes_extended: ClassVar[bool] = False
    is_lstm: ClassVar[bool] = False
    kernels: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def gate_names(self, axes: int) -> tuple[str, ...]:
        """The gates' row blocks in their order; the name of a forget gate begins with ``f``."""

    def idle_blocks(self, axes: int, axis: int) -> tuple[int, ...] | None:
        """The blocks without which this is the cell of an axis fewer where both states along ``axis`` are zero; None where it is not."""
        return None

    def blocks(self, axes: int) -> int:
        """Number of gate blocks, B."""
        return len(self.gate_names(axes))

    def forget_blocks(self, axes: int) -> list[int]:
        """Which of the blocks are forget gates."""
        return [block for block, name in enumerate(self.gate_names(axes)) if name.startswith("f")]

    @abstractmethod
    def forward(
        self, z: Tensor, c_prev: Tensor, peephole: Tensor | None, *, inplace: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return ``(h, c)``. With ``inplace`` (never under autograd), ``z`` is overwritten by the activated gates."""

    @abstractmethod
    def backward(
        self,
        dh: Tensor,
        dc: Tensor,
        gates: Tensor,
        c_prev: Tensor,
        c: Tensor,
        h: Tensor,
        peephole: Tensor | None,
        dz: Tensor,
    ) -> Tensor:
        """Write the gradient of ``z`` into ``dz`` and return ``dc_prev``; ``gates`` are the activated ones."""


def sigmoid(z: Tensor, inplace: bool) -> Tensor:
    """Logistic function, into ``z`` itself where asked."""
    return z.sigmoid_() if inplace else z.sigmoid()


def tanh(z: Tensor, inplace: bool) -> Tensor:
    """Hyperbolic tangent, into ``z`` itself where asked."""
    return z.tanh_() if inplace else z.tanh()


def sigmoid_backward(grad: Tensor, y: Tensor, out: Tensor) -> Tensor:
    """Write ``grad * y * (1 - y)`` into ``out``."""
    return torch.mul(grad, torch.addcmul(y, y, y, value=-1), out=out)


def tanh_backward(grad: Tensor, y: Tensor, out: Tensor) -> Tensor:
    """Write ``grad * (1 - y * y)`` into ``out``."""
    return torch.addcmul(grad, grad * y, y, value=-1, out=out)
