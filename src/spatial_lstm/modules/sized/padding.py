"""The sites of a padded batch that belong to no image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


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
