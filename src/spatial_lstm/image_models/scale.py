"""Whether images are on the scale of the data that a model was fitted to."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from spatial_lstm.image_models.values import values_of

# In deviations of the data a model was fitted to: how far images may be from it, or how widely spread, before a word is said. Integers from
# 0 to 255 where the data lie between 0 and 1 are hundreds away; a dark or a bright image is not one away.
FAR = 8.0


def warn_of_other_scale(images: Tensor, quantiles: Tensor) -> None:
    """Warn of images whose values are far from the data's marginal, such as 0 .. 255 where that is 0 .. 1.

    Their likelihood is what it is, and next to nothing. Where there are no values to look at nothing is said.

    Args:
        images: ``(N, C, H, W)``.
        quantiles: ``(C, Q)``, those of the data's marginal.
    """
    if torch.compiler.is_compiling() or not images.numel():
        return
    found = values_of(lambda: _spread(images.detach(), quantiles))
    if found is None:
        return
    mean, deviation, center, width = found
    if max(abs(mean - center), deviation) > FAR * width:
        # The text is the same for all images, so that it is shown once.
        warnings.warn(
            f"expected images on the scale of those that the model was fitted to, {center:.3g} +- {width:.3g}, got values far from it: "
            "bring them to that scale, or call fit_whitening on images of theirs",
            stacklevel=2,
        )


def _spread(images: Tensor, quantiles: Tensor) -> Tensor:
    """Mean and deviation of images, and of the marginal."""
    spreads = (images.mean(), images.std(correction=0), quantiles.mean(), quantiles.std(correction=0))
    return torch.stack(spreads).double()
