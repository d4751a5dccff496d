"""The pixels that a pixel may be predicted from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from spatial_lstm.arguments import as_count, as_positive_int
from spatial_lstm.image_models.checks import check_images


class CausalNeighborhood(nn.Module):
    """For every pixel, the pixels of a square window around it that precede it in raster order, after Theis & Bethge, 2015.

    With r = (size - 1) / 2: the r full rows of the window above the pixel and the r pixels to its left. Pixels without all of them, the
    first r rows and the first and last r columns, have no neighborhood: they are conditioned on and never predicted.

    Args:
        size: Width of the window, odd.
        channels: Channels of the images, C.
        condition_channels: Channels, K, of a second image given in full, such as the luma of a chroma image.

    Inputs: images, condition
        - images: ``(N, C, H, W)``.
        - condition: ``(N, K, H, W)``, or with up to r rows more, which lie below the images; None if K = 0.

    Outputs:
        ``(N, C * count + K * size**2, H - r, W - 2r)``: channel by channel the preceding pixels in raster order, then channel by channel
        the full window of the condition in raster order. Rows of the window below the last row of the condition repeat that row.

    Attributes:
        radius: r.
        count: Preceding pixels per channel, (size**2 - 1) / 2.
        dim: Features of the output.

    Raises:
        ValueError: If size is not an odd number from 3 on, or the images do not fit.
    """

    def __init__(self, size: int = 5, channels: int = 1, condition_channels: int = 0) -> None:
        super().__init__()
        size = as_positive_int("size", size)
        channels = as_positive_int("channels", channels)
        condition_channels = as_count("condition_channels", condition_channels)
        if size < 3 or size % 2 == 0:
            raise ValueError(f"expected an odd neighborhood size of at least 3, got {size}")
        self.size = size
        self.channels = channels
        self.condition_channels = condition_channels
        self.radius = (size - 1) // 2
        self.count = (size * size - 1) // 2
        self.dim = channels * self.count + condition_channels * size * size

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the neighborhoods; see the class."""
        self.check(images, condition)
        windows = images.unfold(2, self.radius + 1, 1).unfold(3, self.size, 1)  # (N, C, H - r, W - 2r, r + 1, size)
        inputs = windows.flatten(4)[..., : self.count].permute(0, 1, 4, 2, 3).flatten(1, 2)
        if condition is None:
            return inputs
        given = self.windows(condition, images.shape[2]).permute(0, 3, 1, 2)
        return torch.cat([inputs, given], dim=1)

    def windows(self, condition: Tensor, height: int) -> Tensor:
        """Return the full windows of the condition around the pixels of images of H rows, ``(N, H - r, W - 2r, K * size**2)``."""
        below = self.with_rows_below(condition)[:, :, : height + self.radius]
        windows = below.unfold(2, self.size, 1).unfold(3, self.size, 1)
        return windows.permute(0, 2, 3, 1, 4, 5).flatten(3)

    def with_rows_below(self, condition: Tensor) -> Tensor:
        """Return the condition with its last row repeated r times below it."""
        return functional.pad(condition, (0, 0, 0, self.radius), mode="replicate")

    def targets(self, images: Tensor) -> Tensor:
        """Return the pixels that have a neighborhood, ``(N, C, H - r, W - 2r)``."""
        r = self.radius
        return images[:, :, r:, r : images.shape[3] - r]

    def check(self, images: Tensor, condition: Tensor | None) -> None:
        """Refuse images and conditions of a wrong kind or shape, and images in which no pixel has a neighborhood."""
        check_images("images", images, self.channels)
        height, width = images.shape[2:]
        if height <= self.radius or width < self.size:
            raise ValueError(
                f"expected images of at least {self.radius + 1} x {self.size} pixels, got {height} x {width}"
            )
        if (condition is None) != (self.condition_channels == 0):
            found = "None" if condition is None else "a tensor"
            raise ValueError(f"expected a condition of {self.condition_channels} channels, got {found}")
        if condition is not None:
            check_images("condition", condition, self.condition_channels)
            below = condition.shape[2] - height
            if not 0 <= below <= self.radius or condition.shape[3] != width or condition.shape[0] != images.shape[0]:
                expected = (images.shape[0], self.condition_channels, height, width)
                raise ValueError(f"expected condition of shape {expected}, got {tuple(condition.shape)}")

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        condition = f", condition_channels={self.condition_channels}" if self.condition_channels else ""
        return f"size={self.size}, channels={self.channels}{condition}"
