"""The cell of Graves, Fernandez & Schmidhuber, Multi-Dimensional Recurrent Neural Networks, 2007, arXiv:0705.2011."""

from __future__ import annotations

from torch import Tensor

from spatial_lstm.engine.cells.base import Cell, sigmoid, sigmoid_backward, tanh, tanh_backward


class GravesCell(Cell):
    r"""Sum of the gated predecessors, with optional diagonal peepholes p; for n = 1 without them it is :class:`torch.nn.LSTM`.

    .. math::
        c &= \sigma(i + \sum_k p_{ik} \odot c_k) \odot \tanh(g) + \sum_k \sigma(f_k + p_{fk} \odot c_k) \odot c_k \\
        h &= \sigma(o + p_o \odot c) \odot \tanh(c)
    """

    name = "graves"
    takes_peephole = True
    is_lstm = True
    kernels = frozenset({"cpp", "triton"})

    def gate_names(self, axes: int) -> tuple[str, ...]:
        return ("i", *[f"f_{k}" for k in range(axes)], "g", "o")

    def idle_blocks(self, axes: int, axis: int) -> tuple[int, ...] | None:
        return (1 + axis,)

    def forward(
        self, z: Tensor, c_prev: Tensor, peephole: Tensor | None, *, inplace: bool = False
    ) -> tuple[Tensor, Tensor]:
        axes = c_prev.shape[-2]
        z_i, z_f, z_g, z_o = z[..., 0, :], z[..., 1:-2, :], z[..., -2, :], z[..., -1, :]
        if peephole is not None:
            to_i, to_f = (peephole[..., :axes, :] * c_prev).sum(-2), peephole[..., axes:-1, :] * c_prev
            z_i, z_f = (z_i.add_(to_i), z_f.add_(to_f)) if inplace else (z_i + to_i, z_f + to_f)
        i, f, g = sigmoid(z_i, inplace), sigmoid(z_f, inplace), tanh(z_g, inplace)
        c = i * g + (f * c_prev).sum(-2)
        if peephole is not None:
            to_o = peephole[..., -1, :] * c
            z_o = z_o.add_(to_o) if inplace else z_o + to_o
        return sigmoid(z_o, inplace) * c.tanh(), c

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
        i, f, g, o = gates[..., 0, :], gates[..., 1:-2, :], gates[..., -2, :], gates[..., -1, :]
        t = c.tanh()
        dz_o = sigmoid_backward(dh * t, o, out=dz[..., -1, :])
        dho = dh * o
        dc = dc + dho - dho * t * t
        if peephole is not None:
            dc = dc + dz_o * peephole[..., -1, :]
        dz_i = sigmoid_backward(dc * g, i, out=dz[..., 0, :])
        tanh_backward(dc * i, g, out=dz[..., -2, :])
        dc_prev = dc.unsqueeze(-2) * f
        dz_f = dz[..., 1:-2, :]
        dz_f.copy_(dc_prev * c_prev * (1 - f))
        if peephole is not None:
            dc_prev = dc_prev + peephole[..., :axes, :] * dz_i.unsqueeze(-2) + peephole[..., axes:-1, :] * dz_f
        return dc_prev
