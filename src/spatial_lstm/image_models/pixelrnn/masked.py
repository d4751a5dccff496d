"""Convolutions that see no pixel which is yet to come."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spatial_lstm.arguments import as_positive_ints, check_flag


def color_mask(outputs: int, inputs: int, colors: int, *, own: bool = True, blocks: int = 1) -> Tensor:
    """Which inputs of a pixel an output of the same pixel may see, bool ``(blocks * outputs, inputs)`` on the CPU.

    Inputs and the outputs of each block are divided evenly into one group for each color, in order. An output sees the groups of earlier
    colors, and with ``own`` that of its own.
    """
    after = (torch.arange(outputs, device="cpu") * colors // outputs).repeat(blocks).unsqueeze(1)
    before = torch.arange(inputs, device="cpu") * colors // inputs
    return before <= after if own else before < after


class MaskedConv2d(nn.Module):
    """A convolution over the rows above and the pixels to the left, after van den Oord, Kalchbrenner & Kavukcuoglu, 2016.

    Of the pixel itself, an output sees the groups of earlier colors, and in mask B that of its own, too; with one color mask A therefore
    sees nothing of the pixel itself, and mask B all of it. Outside the image there are zeros.

    Args:
        in_channels: Channels of the input, divided evenly among the colors.
        out_channels: Channels of the output; those of each block likewise.
        kernel_size: Width of the window, odd.
        mask: ``"A"`` or ``"B"``.
        rows: Rows above the pixel that are seen; None for as many as pixels to the left.
        colors: Groups of channels of a pixel, each of which may depend on those before.
        blocks: Equal parts of the output, such as the gates of an LSTM.
        bias: Whether to learn an additive bias.
        device, dtype: Of the parameters.

    Shape:
        - Input: ``(N, in_channels, H, W)``.
        - Output: ``(N, out_channels, H, W)``.

    Attributes:
        weight: ``(out_channels, in_channels, rows + 1, kernel_size)``: the window's rows down to the pixel's own.
        radius: Pixels to the left that are seen, (kernel_size - 1) / 2.

    Raises:
        ValueError: If an argument is out of range.
    """

    mask: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        mask: str = "B",
        rows: int | None = None,
        colors: int = 1,
        blocks: int = 1,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size}
        sizes = as_positive_ints({**sizes, "colors": colors, "blocks": blocks})
        in_channels, out_channels, kernel_size, colors, blocks = sizes.values()
        check_flag("bias", bias)
        if kernel_size % 2 == 0:
            raise ValueError(f"expected an odd kernel_size, got {kernel_size}")
        if mask not in ("A", "B"):
            raise ValueError(f"expected mask to be 'A' or 'B', got {mask!r}")
        if out_channels % blocks or min(in_channels, out_channels // blocks) < colors:
            channels = f"{in_channels} channels in and {out_channels} out in {blocks} blocks"
            raise ValueError(f"expected equal blocks with a channel for each of {colors} colors, got {channels}")
        self.radius = kernel_size // 2
        self.rows = self.radius if rows is None else rows
        shape = (out_channels, in_channels, self.rows + 1, kernel_size)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        start = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.register_parameter("bias", start)
        seen = torch.ones(shape, dtype=torch.bool, device="cpu")
        seen[:, :, -1, self.radius + 1 :] = False
        seen[:, :, -1, self.radius] = color_mask(
            out_channels // blocks, in_channels, colors, own=mask == "B", blocks=blocks
        )
        self.register_buffer("mask", seen.to(self.weight.device), persistent=False)
        self.kind = mask
        # Counted where there are values; the mask may be on the meta device.
        self._inputs_seen = _inputs_seen(seen)
        self.reset_parameters()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a convolution that was pickled whole; 0.2.0 did not keep what it had counted."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        if "_inputs_seen" not in state:
            self._inputs_seen = _inputs_seen(self.mask)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights from U(-1, 1)/sqrt(s), s the inputs that an output sees on average; biases are 0."""
        bound = self._inputs_seen**-0.5
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return the output; see the class."""
        return self.windows(functional.pad(input, (self.radius, self.radius, self.rows, 0)))

    def windows(self, padded: Tensor) -> Tensor:
        """Return the outputs of all windows in an input with a margin of ``rows`` above and of ``radius`` to the left and to the right."""
        return functional.conv2d(padded, self.weight * self.mask, self.bias)

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        outputs, inputs, _, width = self.weight.shape
        return f"{inputs}, {outputs}, kernel_size={width}, mask={self.kind!r}"


def _inputs_seen(mask: Tensor) -> float:
    """How many inputs an output sees on average, at least 1."""
    return max(1.0, int(mask.sum()) / len(mask))
