"""The sites of a padded batch that belong to no image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def beyond(sizes: Tensor, extents: Sequence[int], device: torch.device) -> Tensor | None:
    """Which sites are padding, bool ``(N, 1, *S)`` on ``device``; None where there is none."""
    if bool((sizes == torch.tensor(extents)).all()):
        return None
    padding = torch.zeros((len(sizes), 1, *extents), dtype=torch.bool)
    for axis, extent in enumerate(extents):
        outside = torch.arange(extent) >= sizes[:, axis, None]  # (N, S_axis)
        shape = [1] * len(extents)
        shape[axis] = extent
        padding |= outside.view(len(sizes), 1, *shape)
    return padding.to(device, non_blocking=True)


def cleared(x: Tensor, sizes: Tensor, value: float = 0.0) -> Tensor:
    """A batch ``(N, C, *S)`` with ``value`` in its padding; itself where there is none."""
    padding = beyond(sizes, x.shape[2:], x.device)
    return x if padding is None else x.masked_fill(padding, value)


def extended(x: Tensor, extents: Sequence[int]) -> Tensor:
    """A batch ``(N, C, *S)`` with zeros behind, up to ``extents``."""
    missing = [extent - own for extent, own in zip(extents, x.shape[2:], strict=True)]
    return functional.pad(x, [n for extent in reversed(missing) for n in (0, extent)]) if any(missing) else x


def without_padding(x: Tensor, sizes: Tensor) -> list[Tensor]:
    """Each image of a batch ``(N, C, *S)`` alone, ``(1, C, *own)``; the batch itself where there is no padding."""
    if bool((sizes == torch.tensor(x.shape[2:])).all()):
        return [x]
    return [image[(..., *map(slice, own))] for image, own in zip(x.split(1), sizes.tolist(), strict=True)]


def with_padding(images: Sequence[Tensor], extents: Sequence[int]) -> Tensor:
    """One batch of batches of other extents."""
    padded = [extended(image, extents) for image in images]
    return torch.cat(padded) if len(padded) > 1 else padded[0]
