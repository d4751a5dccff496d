"""Which pixels of an image are to be filled."""

from __future__ import annotations

import torch
from torch import Tensor


def expand_mask(images: Tensor, mask: Tensor) -> Tensor:
    """Return the mask of every image, ``(N, 1, H, W)``.

    Args:
        images: ``(N, C, H, W)``.
        mask: bool ``(N, 1, H, W)`` or ``(1, 1, H, W)``.

    Raises:
        TypeError: If the mask is not bool.
        ValueError: If it does not fit.
    """
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        found = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"expected mask to be a bool Tensor, got {found}")
    shape = (len(images), 1, *images.shape[2:])
    if mask.shape not in (shape, (1, *shape[1:])):
        raise ValueError(f"expected mask of shape {shape} or {(1, *shape[1:])}, got {tuple(mask.shape)}")
    return mask.expand(shape)
