"""The network of PixelRNN: from the levels of pixels to the weights of the levels of each."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from spatial_lstm.image_models.pixelrnn.layers import CausalLayer, DiagonalBiLSTM, RowLSTM, RowReader
from spatial_lstm.image_models.pixelrnn.masked import MaskedConv2d
from spatial_lstm.image_models.precision import wide


class Block(nn.Module):
    """A recurrent layer and a 1x1 convolution back to the width of its input, to which it is added where ``residual``."""

    def __init__(
        self,
        layer: CausalLayer,
        hidden_size: int,
        features: int,
        *,
        colors: int,
        residual: bool,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.layer = layer
        self.residual = residual
        self.out = MaskedConv2d(hidden_size, features, colors=colors, device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Return ``(N, features, H, W)`` of as many."""
        return self.merge(input, self.layer(input))

    def reader(self, batch: int, width: int) -> RowReader:
        """Return what computes the layer position by position; see :meth:`CausalLayer.reader`."""
        return self.layer.reader(batch, width)

    def merge(self, input: Tensor, hidden: Tensor) -> Tensor:
        """Return the output, given what the layer makes of the input."""
        output: Tensor = self.out(hidden)
        return input + output if self.residual else output


class PixelNetwork(nn.Module):
    """A masked convolution (mask A), recurrent layers, and two 1x1 convolutions behind ReLUs.

    Args:
        channels, levels, hidden_size, num_layers, variant, kernel_size, head_features, residual, backend: See
            :class:`~spatial_lstm.image_models.PixelRNN`.
        device, dtype: Of the parameters.

    Shape:
        - Input: ``(N, channels, H, W)``, levels from 0 on.
        - Output: ``(N, channels * levels, H, W)``, or for two levels ``(N, channels, H, W)``; see :meth:`logits`.
    """

    def __init__(
        self,
        channels: int,
        levels: int,
        *,
        hidden_size: int,
        num_layers: int,
        variant: str,
        kernel_size: int,
        head_features: int,
        residual: bool,
        backend: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.levels = channels, levels
        width, colors = 2 * hidden_size, channels
        self.first = MaskedConv2d(channels, width, kernel_size, mask="A", colors=colors, device=device, dtype=dtype)

        def layer() -> CausalLayer:
            if variant == "row":
                return RowLSTM(width, hidden_size, colors=colors, device=device, dtype=dtype)
            return DiagonalBiLSTM(width, hidden_size, colors=colors, backend=backend, device=device, dtype=dtype)

        self.blocks = nn.ModuleList(
            Block(layer(), hidden_size, width, colors=colors, residual=residual, device=device, dtype=dtype)
            for _ in range(num_layers)
        )
        outputs = channels * (1 if levels == 2 else levels)
        self.head = nn.Sequential(
            nn.ReLU(),
            MaskedConv2d(width, head_features, colors=colors, device=device, dtype=dtype),
            nn.ReLU(),
            MaskedConv2d(head_features, outputs, colors=colors, device=device, dtype=dtype),
        )

    def forward(self, values: Tensor) -> Tensor:
        """Return the output; see the class."""
        features = self.first(self.scale(values))
        for block in self.recurrent_blocks():
            features = block(features)
        return self.read(features)

    def read(self, features: Tensor) -> Tensor:
        """Return the output, given that of the last layer; never in 16 bits."""
        return wide(self.head(features))

    def recurrent_blocks(self) -> Iterator[Block]:
        """The layers, each with what brings it back to the width of its input."""
        for block in self.blocks:
            assert isinstance(block, Block)
            yield block

    def scale(self, values: Tensor) -> Tensor:
        """Return levels as the network sees them, from -1 to 1."""
        return values * (2 / (self.levels - 1)) - 1

    def logits(self, outputs: Tensor) -> Tensor:
        """Return the network's outputs ``(N, .., H, W)`` as log-weights of the levels, ``(N, C, levels, H, W)``."""
        if self.levels == 2:
            return torch.stack([torch.zeros_like(outputs), outputs], dim=2)
        weights: Tensor = outputs.unflatten(1, (self.channels, self.levels))
        return weights

    def score(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Return log p ``(N, C, H, W)`` of levels, given the network's outputs."""
        if self.levels == 2:
            return functional.logsigmoid(outputs * (2 * values - 1))
        log_p = self.logits(outputs).log_softmax(2)
        return log_p.gather(2, values.long().unsqueeze(2)).squeeze(2)
