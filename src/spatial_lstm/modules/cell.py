"""One site, for programs that visit sites one at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from spatial_lstm.arguments import as_positive_int, check_flag
from spatial_lstm.engine import (
    Cell,
    Weights,
    check_dtype,
    check_forget_bias,
    check_options,
    check_site,
    check_site_state,
    get_cell,
    state_dtype,
    weight_shapes,
)
from spatial_lstm.modules import parameters

Pair = tuple[Tensor | None, Tensor | None]


class SpatialLSTMCell(nn.Module):
    r"""One site of a :class:`~spatial_lstm.SpatialLSTM`: from an input and the states of the site's predecessors to its own state.

    Used where sites cannot be computed in one sweep because the input at one depends on the output at another, such as sampling from an
    autoregressive model. The equations and the options are those of :class:`~spatial_lstm.SpatialLSTM`.

    Args:
        input_size: Features of the input, C.
        hidden_size: Features of the hidden and cell states, h.
        bias: Whether there is a bias.
        spatial_dims: Number of axes, n, and so of predecessors.
        cell: ``"spatial"``, ``"graves"``, ``"stable"`` or ``"diagonal"``.
        peephole: Diagonal peepholes, with ``"graves"`` alone.
        extended: Dense connections from the predecessors' cell states to the gates, with ``"spatial"`` alone.
        forget_bias: What the forget biases start at; None for the default.
        device, dtype: Of the parameters.

    Inputs: x, predecessors
        - x: ``(N, C)`` or ``(C,)``.
        - predecessors: n pairs ``(h_k, c_k)``, each ``(N, h)`` or ``(h,)``; None, for all, for one pair or for one of a pair, is zeros.

    Outputs: h, c
        ``(N, h)`` or ``(h,)`` each; c is float32 where x has 16 bits.

    Attributes:
        weight_ih: ``(B h, C)``, B the number of the cell's gates: 3 + n, or 4 for ``"diagonal"``.
        weight_hh: ``(B h, n h)``, axis 0's predecessor first.
        bias: ``(B h,)`` or None.
        weight_peephole: ``(2n + 1, h)`` or None.
        weight_ch: ``(B h, n h)`` or None.

    Raises:
        ValueError: If shapes, dtypes, devices or options do not fit.
        TypeError: If an argument is of a wrong kind.

    Example:
        >>> cell = SpatialLSTMCell(3, 8)
        >>> above = left = (torch.zeros(2, 8), torch.zeros(2, 8))
        >>> h, c = cell(torch.zeros(2, 3), (above, left))
        >>> h.shape
        torch.Size([2, 8])
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor | None
    weight_peephole: Tensor | None
    weight_ch: Tensor | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        spatial_dims: int = 2,
        cell: str = "spatial",
        peephole: bool = False,
        extended: bool = False,
        forget_bias: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size = as_positive_int("input_size", input_size)
        self.hidden_size = as_positive_int("hidden_size", hidden_size)
        self.spatial_dims = as_positive_int("spatial_dims", spatial_dims)
        for name, flag in (("bias", bias), ("peephole", peephole), ("extended", extended)):
            check_flag(name, flag)
        check_options(cell, peephole, extended)
        check_dtype(dtype)
        check_forget_bias(forget_bias, bias)
        self.cell_type = cell
        self.forget_bias = forget_bias
        asked = {"bias": bias, "weight_peephole": peephole, "weight_ch": extended}
        for name, shape in self._shapes().items():
            there = asked.get(name, True)
            parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype)) if there else None
            self.register_parameter(name, parameter)
        self.reset_parameters()

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return weight_shapes(self._equations(), self.spatial_dims, self.input_size, self.hidden_size)

    def _equations(self) -> Cell:
        return get_cell(self.cell_type)

    def _present(self) -> list[str]:
        """The weights that this cell has."""
        return [name for name in Weights._fields if self._parameters.get(name, self) is not None]

    def _weights(self) -> Weights:
        """The weights, checked, and the options as they are now."""
        for name in ("input_size", "hidden_size", "spatial_dims"):
            as_positive_int(name, getattr(self, name))
        shapes, read, present = self._shapes(), parameters.Reader(self), self._present()
        check_options(self.cell_type, "weight_peephole" in present, "weight_ch" in present)
        return Weights(**{name: read(name, shapes[name]) for name in present})

    def reset_parameters(self) -> None:
        """Draw the parameters anew; see :mod:`spatial_lstm.modules.parameters` for the distributions and their reason.

        Raises:
            RuntimeError: If a weight is no parameter, or has a parametrization without ``right_inverse``.
            ValueError: If ``forget_bias`` is no longer a number to start at.
            TypeError: If it is of a wrong kind.
        """
        check_forget_bias(self.forget_bias, "bias" in self._present())
        cell, axes = self._equations(), self.spatial_dims
        for name in self._present():
            parameters.reset(self, name, name, cell, axes, self.hidden_size, self.forget_bias)

    def forward(self, x: Tensor, predecessors: Sequence[Pair | None] | None = None) -> tuple[Tensor, Tensor]:
        """Return the site's ``(h, c)``."""
        weights = self._weights()
        check_site(x, weights.weight_hh, self.input_size)
        h_prev, c_prev = self._gather(x, predecessors)  # (..., n, h)
        z = functional.linear(x, weights.weight_ih, weights.bias)
        z = z + functional.linear(h_prev.flatten(-2), weights.weight_hh)
        if weights.weight_ch is not None:
            z = z + functional.linear(c_prev.flatten(-2).to(z.dtype), weights.weight_ch)
        z = z.unflatten(-1, (-1, self.hidden_size)).to(c_prev.dtype)
        peephole = None if weights.weight_peephole is None else weights.weight_peephole.to(c_prev.dtype)
        h, c = self._equations().forward(z, c_prev, peephole)
        return h.to(h_prev.dtype), c

    def _gather(self, x: Tensor, predecessors: Sequence[Pair | None] | None) -> tuple[Tensor, Tensor]:
        """The predecessors' h and c, stacked, zeros where there is none."""
        shape = (*x.shape[:-1], self.hidden_size)
        pairs = check_site_state(predecessors, self.spatial_dims, shape, x)
        h_zero, c_zero = x.new_zeros(shape), x.new_zeros(shape, dtype=state_dtype(x.dtype))
        h = torch.stack([h_zero if h is None else h.to(h_zero.dtype) for h, _ in pairs], dim=-2)
        c = torch.stack([c_zero if c is None else c.to(c_zero.dtype) for _, c in pairs], dim=-2)
        return h, c

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        parts = [f"{self.input_size}, {self.hidden_size}"]
        parts += [f"bias={self.bias is not None}"] if self.bias is None else []
        parts += [f"spatial_dims={self.spatial_dims}"] if self.spatial_dims != 2 else []
        parts += [f"cell={self.cell_type!r}"] if self.cell_type != "spatial" else []
        parts += ["peephole=True"] if self.weight_peephole is not None else []
        parts += ["extended=True"] if self.weight_ch is not None else []
        return ", ".join(parts)
