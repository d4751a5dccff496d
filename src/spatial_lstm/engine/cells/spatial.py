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
    kernels = frozenset({"cpp", "triton"})

    def gate_names(self, axes: int) -> tuple[str, ...]:
        return ("i", *[f"f_{k}" for k in range(axes)], "g", "o")

    def idle_blocks(self, axes: int, axis: int) -> tuple[int, ...] | None:
        return (1 + axis,)

    def forward(
        self, z: Tensor, c_prev: Tensor, peephole: Tensor | None, *, inplace: bool = False
    ) -> tuple[Tensor, Tensor]:
        i_f = sigmoid(z[..., :-2, :], inplace)
        g = tanh(z[..., -2, :], inplace)
        o = sigmoid(z[..., -1, :], inplace)
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
        i, f, g, o = gates[..., 0, :], gates[..., 1:-2, :], gates[..., -2, :], gates[..., -1, :]
        du = dh - dh * h * h  # u = o * c, h = tanh(u)
        sigmoid_backward(du * c, o, out=dz[..., -1, :])
        dc = dc + du * o
        sigmoid_backward(dc * g, i, out=dz[..., 0, :])
        tanh_backward(dc * i, g, out=dz[..., -2, :])
        dc_prev = dc.unsqueeze(-2) * f
        df = dz[..., 1:-2, :]
        # dc * c_k * f * (1 - f), with dc * f at hand
        df.copy_(dc_prev * c_prev * (1 - f))
        return dc_prev
