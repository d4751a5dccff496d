"""The cell of the Diagonal BiLSTM of van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks, 2016, arXiv:1601.06759."""

from __future__ import annotations

from torch import Tensor

from spatial_lstm.engine.cells.base import Cell, sigmoid, sigmoid_backward, tanh, tanh_backward


class DiagonalCell(Cell):
    r"""One forget gate on the last axis' predecessor alone (the left one, in an image); for n = 1 it is :class:`torch.nn.LSTM`.

    .. math::
        c &= \sigma(i) \odot \tanh(g) + \sigma(f) \odot c_{n-1} \\
        h &= \sigma(o) \odot \tanh(c)

    All predecessors' h enter the gates. There is but one path along which c adds up, so it cannot grow with their number.
    """

    name = "diagonal"
    is_lstm = True
    kernels = frozenset({"cpp", "triton"})

    def gate_names(self, axes: int) -> tuple[str, ...]:
        return ("i", "f", "g", "o")

    def idle_blocks(self, axes: int, axis: int) -> tuple[int, ...] | None:
        return () if axis < axes - 1 else None

    def forward(
        self, z: Tensor, c_prev: Tensor, peephole: Tensor | None, *, inplace: bool = False
    ) -> tuple[Tensor, Tensor]:
        i_f = sigmoid(z[..., :2, :], inplace)
        g, o = tanh(z[..., 2, :], inplace), sigmoid(z[..., 3, :], inplace)
        c = i_f[..., 0, :] * g + i_f[..., 1, :] * c_prev[..., -1, :]
        return o * c.tanh(), c

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
        i, f, g, o = gates.unbind(-2)
        t = c.tanh()
        sigmoid_backward(dh * t, o, out=dz[..., 3, :])
        dho = dh * o
        dc = dc + dho - dho * t * t
        sigmoid_backward(dc * g, i, out=dz[..., 0, :])
        sigmoid_backward(dc * c_prev[..., -1, :], f, out=dz[..., 1, :])
        tanh_backward(dc * i, g, out=dz[..., 2, :])
        dc_prev = c_prev.new_zeros(c_prev.shape)
        dc_prev[..., -1, :] = dc * f
        return dc_prev
