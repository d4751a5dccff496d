"""Two scales: one level of an orthonormal Haar transformation."""

from __future__ import annotations

import torch
from torch import Tensor

from spatial_lstm.image_models.twostage import TwoStageRIDE

HAAR = ((1.0, 1.0, 1.0, 1.0), (1.0, -1.0, 1.0, -1.0), (1.0, 1.0, -1.0, -1.0), (1.0, -1.0, -1.0, 1.0))
"""Twice the bands (low, horizontal, vertical, diagonal) of a 2x2 block's pixels in raster order."""


class MultiscaleRIDE(TwoStageRIDE):
    """RIDE for gray images ``(N, 1, H, W)`` of even extents: the low band, then the three high bands jointly given its full window.

    The bands are those of the orthonormal Haar transformation of every 2x2 block of pixels, four of which a site stands for.
    Arguments as :class:`TwoStageRIDE`'s.
    """

    rest = 3
    scale = 2
    channels = 1

    def split(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if images.ndim != 4 or images.shape[1] != 1 or images.shape[2] % 2 or images.shape[3] % 2:
            raise ValueError(f"expected images of shape (N, 1, H, W) with even H and W, got {tuple(images.shape)}")
        blocks = torch.nn.functional.pixel_unshuffle(images, 2)  # (N, 4, h, w)
        bands = torch.einsum("kp,nphw->nkhw", images.new_tensor(HAAR) / 2, blocks)
        return bands[:, :1], bands[:, 1:]

    def join(self, first: Tensor, second: Tensor) -> Tensor:
        blocks = torch.einsum("kp,nkhw->nphw", first.new_tensor(HAAR) / 2, torch.cat([first, second], dim=1))
        return torch.nn.functional.pixel_shuffle(blocks, 2)
