"""The stable cell of Leifert et al., Cells in Multidimensional Recurrent Neural Networks, 2016, and Voigtlaender et al., 2016."""

from __future__ import annotations

import torch
from torch import Tensor

from spatial_lstm.engine.cells.base import Cell, sigmoid, sigmoid_backward, tanh, tanh_backward


class StableCell(Cell):
    r"""Convex combination of the predecessors, so that c cannot grow with the number of paths; for n = 1 it is :class:`torch.nn.LSTM`.

    .. math::
        w &= \mathrm{softmax}(l_0, \dots, l_{n-2}, 0) \\
        c &= \sigma(i) \odot \tanh(g) + \sigma(f) \odot \sum_k w_k \odot c_k \\
        h &= \sigma(o) \odot \tanh(c)

    Of the weights the first n - 1 are kept as gates; the last is one minus their sum.
    """

    name = "stable"
    is_lstm = True
    kernels = frozenset({"cpp", "triton"})

    def gate_names(self, axes: int) -> tuple[str, ...]:
        return ("i", "f", *[f"l_{k}" for k in range(axes - 1)], "g", "o")

    def forward(
        self, z: Tensor, c_prev: Tensor, peephole: Tensor | None, *, inplace: bool = False
    ) -> tuple[Tensor, Tensor]:
        axes = c_prev.shape[-2]
        i_f = sigmoid(z[..., :2, :], inplace)
        g = tanh(z[..., -2, :], inplace)
        o = sigmoid(z[..., -1, :], inplace)
        mixed = c_prev.squeeze(-2) if axes == 1 else self._mix(z[..., 2:-2, :], c_prev, inplace)
        c = i_f[..., 0, :] * g + i_f[..., 1, :] * mixed
        return o * c.tanh(), c

    @staticmethod
    def _mix(logits: Tensor, c_prev: Tensor, inplace: bool) -> Tensor:
        """``sum_k w_k c_k``; with ``inplace`` the logits are overwritten by the first n - 1 weights."""
        padded = torch.cat([logits, torch.zeros_like(logits[..., :1, :])], dim=-2)
        w = padded.softmax(-2)
        if inplace:
            logits.copy_(w[..., :-1, :])
        return (w * c_prev).sum(-2)

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
        i, f, g, o = gates[..., 0, :], gates[..., 1, :], gates[..., -2, :], gates[..., -1, :]
        w = gates[..., 2:-2, :]
        w = torch.cat([w, 1 - w.sum(-2, keepdim=True)], dim=-2)
        mixed = (w * c_prev).sum(-2)
        t = c.tanh()
        sigmoid_backward(dh * t, o, out=dz[..., -1, :])
        dho = dh * o
        dc = dc + dho - dho * t * t
        sigmoid_backward(dc * g, i, out=dz[..., 0, :])
        tanh_backward(dc * i, g, out=dz[..., -2, :])
        sigmoid_backward(dc * mixed, f, out=dz[..., 1, :])
        dc_prev = (dc * f).unsqueeze(-2) * w
        dz[..., 2:-2, :] = (dc_prev * (c_prev - mixed.unsqueeze(-2)))[..., :-1, :]
        return dc_prev
