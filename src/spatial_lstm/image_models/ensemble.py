"""Averaging a model over the symmetries of the square."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from spatial_lstm.image_models.base import ImageModel, LogProb, Progress
from spatial_lstm.image_models.checks import as_sizes, check_images
from spatial_lstm.image_models.data import turned


class Ensemble(ImageModel):
    r"""The mixture, in equal parts, of a model read from all eight flips and transposes of an image, after Theis & Bethge, 2015.

    :math:`\log p(\text{image}) = \log \tfrac18 \sum_t p(t(\text{image}))`, for every image, or tile of one, as a whole. So that all eight
    score the same pixels, the last ``border`` rows of each transformed image are cut off: the scored pixels are those that are at least
    ``border`` from all four sides.

    Args:
        model: Any image model; its parameters are shared.
    """

    def __init__(self, model: ImageModel) -> None:
        super().__init__()
        self.model = model
        self.channels = model.channels
        self.border = model.border
        self.levels = model.levels

    def log_prob(self, images: Tensor) -> LogProb:
        check_images("images", images, self.channels)
        found = [self.model.log_prob(view) for view in self.views(images)]
        nats = torch.stack([part.nats for part in found]).logsumexp(0) - math.log(len(found))
        return LogProb(nats, found[0].pixels)

    def views(self, images: Tensor) -> list[Tensor]:
        """Return the eight transformed images, each without its last ``border`` rows."""
        if min(images.shape[2:]) <= 2 * self.border:
            raise ValueError(f"expected images of more than {2 * self.border} pixels a side, got {tuple(images.shape)}")
        turned = [images, images.flip(2), images.flip(3), images.flip(2, 3)]
        return [view[:, :, : view.shape[2] - self.border] for image in turned for view in (image, image.mT)]

    def sample(
        self,
        height: int,
        width: int,
        num: int = 1,
        *,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Draw from the model, each image turned by one of the eight at random."""
        height, width, num = as_sizes(height, width, num)
        extent = max(height, width)
        images = self.model.sample(extent, extent, num, generator=generator, progress=progress)
        which = torch.randint(8, (num,), generator=generator, device=images.device)
        return turned(images, which)[:, :, :height, :width]

    def prepare(self, images: Tensor) -> None:
        self.model.prepare(images)

    def remedy(self) -> str:
        return self.model.remedy()

    def config(self) -> dict[str, Any]:
        return {"model": self.model}
