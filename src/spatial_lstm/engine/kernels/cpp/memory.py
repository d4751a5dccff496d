"""Memory for large tables, kept from one step to the next.

Pages that the system hands out anew are cleared and mapped one by one when they are first written, which on large problems takes as long as
computing; and a training step asks for the same tables again and again. So a table's memory is kept when its tensor is gone, and given to
the next that fits it and needs half of it or more. Beyond the first 64 MiB the system may until then take the pages whenever it needs them
(``MADV_FREE``). No more is kept than a quarter of the machine's memory, and nothing that 160 requests had no use for.

Outputs and gradients are torch's, for what becomes of them is the caller's. The system is asked for large pages under both, before anything
is written: 353 MB are cleared and mapped in 40 milliseconds instead of 150.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import os
import weakref
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# Bytes; smaller tables are torch's. With all of up to 4 MiB left to torch, training at 9x17x32, 111 to 2, took 3 times as long: the C
# library gave their memory back and asked for it again, page by page.
LEAST = 1 << 20
# Requests that memory is kept for without being of use. A judgment: a training step makes up to five a layer, so 32 layers may take turns.
PATIENCE = 160
# Bytes of all that is kept which stay in place. To leave pages to the system and take them again made training 3 to 25 % longer where
# tables have 1 to 20 MB, most of all on two threads, whose cores must both hear of it; within the noise where they have 150 (two cores of
# an EPYC).
IN_PLACE = 1 << 26
# Bytes of all that is kept. A judgment: what is not in use should not be what a machine is full of.
MOST = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4 if hasattr(os, "sysconf") else 1 << 32
# What the system hands out at once where it is asked to; the size that x86-64 has.
LARGE_PAGE = 1 << 21

_free: deque[tuple[int, mmap.mmap]] = deque()
_requests = 0


def new_empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """An uninitialized tensor on the CPU, filled with not-a-number where torch's deterministic mode would fill it.

    Raises:
        MemoryError: If the system has no such memory.
    """
    count = math.prod(shape)
    if count * dtype.itemsize < LEAST:
        return torch.empty(shape, dtype=dtype, device="cpu")
    block = _take(count * dtype.itemsize)
    holder = np.frombuffer(block, dtype=np.uint8)  # lives as long as the tensor's memory is in use
    weakref.finalize(holder, _give_back, block).atexit = False
    tensor = torch.from_numpy(holder)[: count * dtype.itemsize].view(dtype).view(tuple(shape))
    return tensor.fill_(math.nan) if _fills() else tensor


def on_large_pages(tensor: Tensor) -> Tensor:
    """Return a tensor whose memory was not written yet, with the system asked for large pages under it.

    A wish that may be declined: where the system has none, or knows of none, nothing is lost.
    """
    start = -(-tensor.data_ptr() // LARGE_PAGE) * LARGE_PAGE
    end = (tensor.data_ptr() + tensor.nbytes) // LARGE_PAGE * LARGE_PAGE
    if start < end and hasattr(mmap, "MADV_HUGEPAGE"):
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_HUGEPAGE)
    return tensor


def clear() -> None:
    """Return all memory that is not in use to the system."""
    _free.clear()


def _fills() -> bool:
    """Whether torch fills uninitialized memory, so that what is read before it is written shows."""
    fill: bool = getattr(torch.utils.deterministic, "fill_uninitialized_memory", True)  # unknown to type checkers
    return fill and torch.are_deterministic_algorithms_enabled()


def _take(size: int) -> mmap.mmap:
    """The smallest free block that serves for so many bytes, else a new one; those that have long been of no use are let go."""
    global _requests
    _requests += 1
    free = []
    with contextlib.suppress(IndexError):  # empty now, or emptied by another thread
        while True:
            free.append(_free.popleft())
    fitting = [block for _, block in free if size <= len(block) <= 2 * size]
    found = min(fitting, key=len) if fitting else _map(size)
    _free.extend((since, block) for since, block in free if block is not found and _requests - since < PATIENCE)
    return found


def _map(size: int) -> mmap.mmap:
    try:
        block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"the C++ kernel found no {size} bytes of memory: {error}") from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            block.madvise(mmap.MADV_HUGEPAGE)
    return block


def _give_back(block: mmap.mmap) -> None:
    """Called wherever the last tensor dies, so without a lock: a deque's ends are safe to use from any thread."""
    if _bytes_free() + len(block) > IN_PLACE and hasattr(mmap, "MADV_FREE"):
        with contextlib.suppress(OSError):  # pages that the process has locked
            block.madvise(mmap.MADV_FREE)
    _free.append((_requests, block))
    with contextlib.suppress(IndexError):  # emptied by another thread
        while _bytes_free() > MOST:
            _free.popleft()


def _bytes_free() -> int:
    return sum(len(kept) for _, kept in tuple(_free))
