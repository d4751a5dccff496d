"""Images put together and taken apart, channels last: convolutions and normalization are faster so, and joining is too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spatial_lstm.engine import functorch_active

_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def in_format(x: Tensor) -> Tensor:
    """A batch ``(N, C, *S)``, on a CPU with channels last in memory where PyTorch has a format for that."""
    # Of a tensor that vmap maps over, torch takes the format to be that of all entries together.
    if x.device.type != "cpu" or x.ndim not in _FORMATS or functorch_active():
        return x
    return x.to(memory_format=_FORMATS[x.ndim])


def cropped(image: Tensor, extents: Sequence[int]) -> Tensor:
    """What of ``(1, *S, C)`` lies within; split off, since a slice's gradient takes a tensor of zeros and a copy for every axis."""
    for axis, extent in enumerate(extents, 1):
        if image.shape[axis] > extent:
            image = image.split([extent, image.shape[axis] - extent], axis)[0]
    return image


def stacked(images: Sequence[Tensor]) -> Tensor:
    """Images ``(1, *S, C)`` as one batch, with zeros behind smaller ones."""
    extents = [max(own) for own in zip(*(image.shape[1:-1] for image in images), strict=True)]
    return torch.cat([_extended(image, extents) for image in images])


def in_a_row(images: Sequence[Tensor], starts: Sequence[int], value: float) -> Tensor:
    """Images ``(1, *S, C)`` that differ along the last axis alone, in one; each begins at its place, with ``value`` in between."""
    ends = [start + image.shape[-2] for start, image in zip(starts, images, strict=True)]
    gaps = [start - end for end, start in zip(ends, starts[1:], strict=False)]
    filling = images[0].new_full((*images[0].shape[:-2], max(gaps), images[0].shape[-1]), value)
    pieces = [piece for image, gap in zip(images, gaps, strict=False) for piece in (image, filling[..., :gap, :])]
    return torch.cat([*pieces, images[-1]], -2)


def _extended(image: Tensor, extents: Sequence[int]) -> Tensor:
    for axis, extent in enumerate(extents, 1):
        if image.shape[axis] < extent:
            shape = list(image.shape)
            shape[axis] = extent - shape[axis]
            image = torch.cat([image, image.new_zeros(shape)], axis)
    return image
