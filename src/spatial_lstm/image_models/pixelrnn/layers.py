"""The recurrent layers of PixelRNN: every position sees its own features and those of all that come before, and no others."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from spatial_lstm import SpatialLSTM
from spatial_lstm.filling import fill_blocks
from spatial_lstm.image_models.pixelrnn.masked import MaskedConv2d, color_mask

# Of both layers: i, f, g, o.
GATES = 4
# Of RowLSTM's convolutions.
WIDTH = 3


class RowReader(ABC):
    """A layer that goes through an image row by row and position by position, as sampling must."""

    @abstractmethod
    def step(self, input: Tensor, column: int) -> Tensor:
        """Return the output ``(N, hidden_size)`` at a column of the present row, given the input ``(N, features)`` there.

        All columns to the left have been stepped. One may be stepped again, with an input that has changed since.
        """

    @abstractmethod
    def end_row(self) -> None:
        """Go on to the next row; all columns of this one have been stepped."""


class CausalLayer(nn.Module, ABC):
    """What the recurrent layers have in common.

    Shape:
        - Input: ``(N, features, H, W)``.
        - Output: ``(N, hidden_size, H, W)``.
    """

    @abstractmethod
    def forward(self, input: Tensor) -> Tensor:
        """Return the output; see the class."""

    @abstractmethod
    def reader(self, batch: int, width: int) -> RowReader:
        """Return what computes the same position by position, for so many images of this width."""


class DiagonalBiLSTM(CausalLayer):
    r"""A :class:`~spatial_lstm.SpatialLSTM` with ``cell="diagonal"`` in two directions, made causal.

    One direction comes from the top left corner, the other from the top right one. At row i the second has read the row to its end, so what
    it found there counts one row further down: output (i, j) = h from the left (i, j) + h from the right (i - 1, j). Together they see the
    features of all positions that come before, and so, behind a convolution of mask A, all pixels that do but one: the last of the row
    above, unless that convolution reaches it.

    Args:
        features: Channels of the input.
        hidden_size: Features of the hidden state.
        colors: Groups of channels, each of which may depend on those before; see :class:`MaskedConv2d`.
        backend: Of the LSTM.
        device, dtype: Of the parameters.
    """

    def __init__(
        self,
        features: int,
        hidden_size: int,
        *,
        colors: int = 1,
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.lstm = SpatialLSTM(
            features, hidden_size, directions=("ff", "fr"), cell="diagonal", backend=backend, device=device, dtype=dtype
        )
        if colors > 1:
            seen = color_mask(hidden_size, features, colors, blocks=GATES)
            for name in ("weight_ih_l0", "weight_ih_l0_fr"):
                masked = Masked(seen.to(self.lstm.get_parameter(name).device))
                parametrize.register_parametrization(self.lstm, name, masked)

    def forward(self, input: Tensor) -> Tensor:
        left, right = self.lstm(input)[0].chunk(2, 1)
        output: Tensor = left + functional.pad(right[:, :, :-1], (0, 0, 1, 0))
        return output

    def reader(self, batch: int, width: int) -> RowReader:
        return DiagonalReader(self.lstm, batch, width)


class Masked(nn.Module):
    """A weight whose entries outside of a mask are zero."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the masked weight."""
        return weight * self.mask


class DiagonalReader(RowReader):
    """The states of a row above and of the present row, for both directions."""

    def __init__(self, lstm: SpatialLSTM, batch: int, width: int) -> None:
        self._left, self._right = lstm.cell(0, "ff"), lstm.cell(0, "fr")
        like = self._left.weight_hh
        # h and c, with a column of zeros on either side.
        states = torch.zeros(2, batch, width + 2, lstm.hidden_size, dtype=like.dtype, device=like.device)
        self._above, self._row, self._above_right = states, states.clone(), states.clone()
        self._inputs = torch.zeros(batch, width, lstm.input_size, dtype=like.dtype, device=like.device)

    def step(self, input: Tensor, column: int) -> Tensor:
        at = column + 1
        self._inputs[:, column] = input
        h, c = self._left(input, (_pair(self._above, at), _pair(self._row, at - 1)))
        self._row[0, :, at], self._row[1, :, at] = h, c
        output: Tensor = h + self._above_right[0, :, at]
        return output

    def end_row(self) -> None:
        self._above, self._row = self._row, torch.zeros_like(self._row)
        row = torch.zeros_like(self._above_right)
        for at in range(self._inputs.shape[1], 0, -1):
            predecessors = (_pair(self._above_right, at), _pair(row, at + 1))
            row[0, :, at], row[1, :, at] = self._right(self._inputs[:, at - 1], predecessors)
        self._above_right = row


def _pair(states: Tensor, at: int) -> tuple[Tensor, Tensor]:
    """The h and c at a padded column, ``(N, h)`` each."""
    return states[0, :, at], states[1, :, at]


class RowLSTM(CausalLayer):
    r"""An LSTM that goes down the rows, all positions of a row at once.

    With :math:`\circledast` a convolution along the row over three positions, that of the input masked,

    .. math::
        (i, f, o, g) &= K_{is} \circledast x_i + K_{ss} \circledast h_{i-1} + b \\
        c_i &= \sigma(f) \odot c_{i-1} + \sigma(i) \odot \tanh(g), \quad h_i = \sigma(o) \odot \tanh(c_i)

    so a position sees a triangle of what lies above it and not, as in :class:`DiagonalBiLSTM`, all that comes before.

    Args:
        features: Channels of the input.
        hidden_size: Features of the hidden state.
        colors: Groups of channels, each of which may depend on those before; see :class:`MaskedConv2d`.
        device, dtype: Of the parameters.
    """

    def __init__(
        self,
        features: int,
        hidden_size: int,
        *,
        colors: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.input_to_state = MaskedConv2d(
            features, GATES * hidden_size, WIDTH, rows=0, colors=colors, blocks=GATES, device=device, dtype=dtype
        )
        self.state_to_state = nn.Conv1d(
            hidden_size, GATES * hidden_size, WIDTH, padding=WIDTH // 2, bias=False, device=device, dtype=dtype
        )
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the parameters anew, as a :class:`~spatial_lstm.SpatialLSTM` does: small recurrent weights, forget gates open to s(2)."""
        self.input_to_state.reset_parameters()
        bound = 0.25 * self.hidden_size**-0.5
        nn.init.uniform_(self.state_to_state.weight, -bound, bound)
        bias = self.input_to_state.bias
        if bias is not None:
            fill_blocks(bias, (0.0, 2.0, 0.0, 0.0))  # of i, f, g, o

    def forward(self, input: Tensor) -> Tensor:
        batch, _, height, width = input.shape
        gates = self.input_to_state(input)
        h = c = input.new_zeros(batch, self.hidden_size, width)
        rows = []
        for row in range(height):
            h, c = advance(gates[:, :, row] + self.state_to_state(h), c)
            rows.append(h)
        return torch.stack(rows, dim=2)

    def reader(self, batch: int, width: int) -> RowReader:
        return RowLSTMReader(self, batch, width)


def advance(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return h and c ``(N, h, ..)`` of the gates' pre-activations ``(N, 4h, ..)`` and the c of the row above."""
    i, f, g, o = gates.chunk(GATES, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


class RowLSTMReader(RowReader):
    """The states of the row above, and what they give to the gates of the present one."""

    def __init__(self, layer: RowLSTM, batch: int, width: int) -> None:
        self._layer = layer
        like = layer.state_to_state.weight
        self._h, self._c = torch.zeros(2, batch, layer.hidden_size, width, dtype=like.dtype, device=like.device)
        margin = layer.input_to_state.radius
        features = layer.input_to_state.weight.shape[1]
        self._inputs = torch.zeros(batch, features, 1, width + 2 * margin, dtype=like.dtype, device=like.device)
        self._above = layer.state_to_state(self._h)  # (N, 4h, W)
        self._row, self._row_c = self._h.clone(), self._c.clone()

    def step(self, input: Tensor, column: int) -> Tensor:
        read = self._layer.input_to_state
        self._inputs[:, :, 0, column + read.radius] = input
        window = self._inputs[..., column : column + 2 * read.radius + 1]
        gates = read.windows(window)[:, :, 0, 0] + self._above[:, :, column]
        h, c = advance(gates, self._c[:, :, column])
        self._row[:, :, column], self._row_c[:, :, column] = h, c
        return h

    def end_row(self) -> None:
        self._h, self._c = self._row.clone(), self._row_c.clone()
        self._above = self._layer.state_to_state(self._h)
        self._inputs.zero_()
