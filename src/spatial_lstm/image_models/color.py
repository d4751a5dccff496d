"""Color: luma first, then both chroma planes."""

from __future__ import annotations

import torch
from torch import Tensor

from spatial_lstm.image_models.base import Progress
from spatial_lstm.image_models.checks import check_images
from spatial_lstm.image_models.inpainting import check_mask
from spatial_lstm.image_models.twostage import TwoStageRIDE, half_of

OPPONENT = ((3**-0.5, 3**-0.5, 3**-0.5), (2**-0.5, 0.0, -(2**-0.5)), (6**-0.5, -2 * 6**-0.5, 6**-0.5))
"""Rows: luma, red against blue, green against both; orthonormal, so its log|det| is 0."""


class ColorRIDE(TwoStageRIDE):
    """RIDE for RGB images ``(N, 3, H, W)``: luma, then the two chroma planes jointly given the full window of luma.

    Luma and chroma are the orthonormal :data:`OPPONENT` transformation of red, green and blue. A pixel counts once, its three channels
    together. Arguments as :class:`TwoStageRIDE`'s.
    """

    basis = OPPONENT
    channels = 3

    def inpaint(
        self,
        images: Tensor,
        mask: Tensor,
        *,
        candidates: int = 8,
        gibbs_sweeps: int = 10,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Fill the holes in luma, then in chroma given luma; arguments as :func:`spatial_lstm.image_models.inpainting.inpaint`'s."""
        check_images("images", images, self.channels)
        mask = check_mask(self.first, images, mask)
        filled: list[Tensor] = []
        for part, (model, plane, _) in enumerate(self.parts(images.masked_fill(mask, 0.0))):
            found = model.inpaint(
                plane,
                mask,
                filled[0] if part else None,
                candidates=candidates,
                gibbs_sweeps=gibbs_sweeps,
                generator=generator,
                progress=half_of(progress, part),
            )
            filled.append(found)
        return torch.where(mask, self.join(*filled), images)
