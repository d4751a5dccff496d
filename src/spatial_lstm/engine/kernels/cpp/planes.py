"""Copies with the channels last of tensors whose channels come first in memory: images as torch has them."""

from __future__ import annotations

import torch
from torch import Tensor

from spatial_lstm.engine.kernels.cpp import library, memory, structures
from spatial_lstm.engine.kernels.cpp.structures import TYPES

# From how many bytes on a copy is ours, and from how many channels and sites of a run on: with fewer a vector is not half full.
LEAST, LEAST_RUN = 1 << 15, 8
OF_A_THREAD = 1 << 18  # bytes, which one thread moves in the time that it takes to start two: a judgment


def as_rows(tensor: Tensor) -> Tensor:
    """What :meth:`torch.Tensor.contiguous` returns, bit by bit; where channels come first in memory that takes 2 to 12 times as long."""
    if tensor.nbytes < LEAST or tensor.is_contiguous():
        return tensor.contiguous()
    found, planes = library.loaded(), _planes(tensor)
    if found is None or planes is None:
        return tensor.contiguous()
    copy = memory.new_empty(tensor.shape, tensor.dtype)
    threads = max(1, min(torch.get_num_threads(), tensor.nbytes // OF_A_THREAD))
    given = structures.PLANES.pack(tensor.data_ptr(), copy.data_ptr(), *planes, threads)
    getattr(found, f"to_rows_{TYPES[tensor.dtype]}")(given)
    return copy


def _planes(tensor: Tensor) -> tuple[int, ...] | None:
    """How many images, runs, sites and channels there are in a tensor ``(.., channels)``, and the strides of all but the sites.

    A run is what lies side by side of a plane, all of it or a window's row. None where there is nothing of the kind, or little of it.
    """
    *shape, channels = tensor.shape
    *strides, channel_stride = tensor.stride()
    if not tensor.is_cpu or tensor.is_neg() or tensor.dtype not in TYPES or not tensor.data_ptr():
        return None
    joined: list[tuple[int, int]] = []  # sizes and strides, of dimensions that one stride serves as one
    for size, stride in zip(shape, strides, strict=True):
        if joined and joined[-1][1] == stride * size:
            joined[-1] = joined[-1][0] * size, stride
        elif size > 1:
            joined.append((size, stride))
    joined = [(1, 0)] * (3 - len(joined)) + joined
    if len(joined) > 3 or joined[-1][1] != 1 or min(channels, joined[-1][0]) < LEAST_RUN:
        return None
    (images, image_stride), (runs, run_stride), (sites, _) = joined
    return images, runs, sites, channels, image_stride, run_stride, channel_stride
