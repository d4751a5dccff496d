"""What one layer computes from, and the gradients of it: the two values that travel between the modules and the kernels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from spatial_lstm.engine.cells import Cell


class Weights(NamedTuple):
    """One layer's weights over its D directions, B gate blocks and h features; n axes, C input features.

    Where there is but one direction all may come without D, as parameters are; :meth:`with_directions` puts it there.

    Attributes:
        weight_ih: ``(D, B * h, C)``.
        weight_hh: ``(D, B * h, n * h)``.
        bias: ``(D, B * h)`` or None.
        weight_peephole: ``(D, 2n + 1, h)`` or None.
        weight_ch: ``(D, B * h, n * h)`` or None.
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor | None = None
    weight_peephole: Tensor | None = None
    weight_ch: Tensor | None = None

    def with_directions(self) -> Weights:
        """All with their leading dimension of directions."""
        if self.weight_ih.ndim > 2:
            return self
        return Weights(*[None if weight is None else weight.unsqueeze(0) for weight in self])  # type: ignore[arg-type]


class Tensors(NamedTuple):
    """All that one layer computes from; F rows of flattened faces (see :mod:`spatial_lstm.engine.geometry.packing`).

    Attributes:
        x: ``(N, *S, C)``.
        weight_ih, weight_hh, bias, weight_peephole, weight_ch: As in :class:`Weights`.
        h0: ``(D, F, h)``, near faces of the hidden state; None for zeros.
        c0: ``(D, F, h)``, near faces of the cell state; None for zeros.
    """

    x: Tensor
    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor | None = None
    weight_peephole: Tensor | None = None
    weight_ch: Tensor | None = None
    h0: Tensor | None = None
    c0: Tensor | None = None

    @property
    def weights(self) -> Weights:
        """Those of the layer's own."""
        return Weights(*self[1:6])

    def with_directions(self) -> Tensors:
        """With :meth:`Weights.with_directions`; in words that torch 2.6 compiles, which knows no slice and no property of a named tuple."""
        if self.weight_ih.ndim > 2:
            return self
        weights = Weights(self.weight_ih, self.weight_hh, self.bias, self.weight_peephole, self.weight_ch)
        return Tensors(self.x, *weights.with_directions(), self.h0, self.c0)

    def present(self) -> dict[str, Tensor]:
        """Those that are there, by name; in words that torch 2.6 compiles."""
        return {name: tensor for name, tensor in zip(Tensors._fields, self, strict=True) if tensor is not None}


class Gradients(NamedTuple):
    """Gradients of :class:`Tensors`, by the same names and in the same shapes; None where none was wanted."""

    x: Tensor | None = None
    weight_ih: Tensor | None = None
    weight_hh: Tensor | None = None
    bias: Tensor | None = None
    weight_peephole: Tensor | None = None
    weight_ch: Tensor | None = None
    h0: Tensor | None = None
    c0: Tensor | None = None

    @property
    def weights(self) -> Weights:
        """Those of the layer's own."""
        return Weights(*self[1:6])  # type: ignore[arg-type]


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type in which c is carried: float32 for the 16-bit types, else the type itself."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def weight_shapes(cell: Cell, axes: int, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """The shape of each of one direction's :class:`Weights`, those that a layer may do without included."""
    rows = cell.blocks(axes) * hidden
    return {
        "weight_ih": (rows, inputs),
        "weight_hh": (rows, axes * hidden),
        "bias": (rows,),
        "weight_peephole": (2 * axes + 1, hidden),
        "weight_ch": (rows, axes * hidden),
    }
