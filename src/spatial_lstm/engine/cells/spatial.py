"""The cell of Theis & Bethge, Generative Image Modeling Using Spatial LSTMs, 2015, arXiv:1506.03478."""

from __future__ import annotations

from torch import Tensor

from spatial_lstm.engine.cells.base import Cell, sigmoid, sigmoid_backward, tanh, tanh_backward


class SpatialCell(Cell):
    r"""Sum of the gated predecessors; the output gate acts before the last tanh.

    .. math::
        c &= \sigma(i) \odot \tanh(g) + \sum_k \sigma(f_k) \odot c_k \\
        h &= \tanh(\sigma(o) \odot c)
    """

    name = "spatial"
    takes_extended = True

    def gate_names(self, axes: int) -> tuple[str, ...]:
        return ("i", *(f"f_{k}" for k in range(axes)), "g", "o")

    def forward(
        self, z: Tensor, c_prev: Tensor, peephole: Tensor | None, *, inplace: bool = False
    ) -> tuple[Tensor, Tensor]:
        axes = c_prev.shape[-2]
        i_f = sigmoid(z[..., : axes + 1, :], inplace)
        g = tanh(z[..., axes + 1, :], inplace)
        o = sigmoid(z[..., axes + 2, :], inplace)
        c = i_f[..., 0, :] * g + (i_f[..., 1:, :] * c_prev).sum(-2)
        return (o * c).tanh(), c

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
        axes = c_prev.shape[-2]
        i, f, g, o = gates[..., 0, :], gates[..., 1 : axes + 1, :], gates[..., axes + 1, :], gates[..., axes + 2, :]
        du = dh - dh * h * h  # u = o * c, h = tanh(u)
        sigmoid_backward(du * c, o, out=dz[..., axes + 2, :])
        dc = dc + du * o
        sigmoid_backward(dc * g, i, out=dz[..., 0, :])
        tanh_backward(dc * i, g, out=dz[..., axes + 1, :])
        dc_prev = dc.unsqueeze(-2) * f
        df = dz[..., 1 : axes + 1, :]
        # dc * c_k * f * (1 - f), with dc * f at hand
        df.copy_(dc_prev * c_prev * (1 - f))
        return dc_prev
