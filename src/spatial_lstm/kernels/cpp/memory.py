"""Memory for large tables, kept from one step to the next.

Pages that the system hands out anew are cleared and mapped one by one when they are first written, which on large problems takes as long as
computing; and a training step asks for the same tables again and again. So a table's memory is kept when its tensor is gone, and given to
the next of about its size. Until then the system may take the pages whenever it needs them (``MADV_FREE``).
"""

from __future__ import annotations

import math
import mmap
import weakref
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

LEAST = 1 << 20  # bytes; smaller tables are torch's
PATIENCE = 64  # requests that memory is kept for without being of use
_SLACK = 8  # sizes are rounded up to an eighth of a power of two, so that batches of about the same size share memory

_free: deque[tuple[int, mmap.mmap]] = deque()
_requests = 0


def new_empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor on the CPU."""
    count = math.prod(shape)
    if count * dtype.itemsize < LEAST:
        return torch.empty(shape, dtype=dtype, device="cpu")
    block = _take(_rounded(count * dtype.itemsize))
    holder = np.frombuffer(block, dtype=np.uint8)  # lives as long as the tensor's memory is in use
    weakref.finalize(holder, _give_back, block).atexit = False
    return torch.from_numpy(holder).view(dtype)[:count].view(tuple(shape))


def _rounded(size: int) -> int:
    step = max(1 << (size.bit_length() - 1), LEAST) // _SLACK
    return -(-size // step) * step


def _take(size: int) -> mmap.mmap:
    """A block of so many bytes, new if none is free; those that have long been of no use are let go."""
    global _requests
    _requests += 1
    found, kept = None, []
    for _ in range(len(_free)):
        try:
            since, block = _free.popleft()
        except IndexError:  # another thread was faster
            break
        if found is None and len(block) == size:
            found = block
        elif _requests - since < PATIENCE:
            kept.append((since, block))
    _free.extend(kept)
    return found or mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _give_back(block: mmap.mmap) -> None:
    """Called wherever the last tensor dies, so without a lock: a deque's ends are safe to use from any thread."""
    if hasattr(mmap, "MADV_FREE"):
        block.madvise(mmap.MADV_FREE)
    _free.append((_requests, block))
