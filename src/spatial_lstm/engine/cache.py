"""What is kept from one call to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from spatial_lstm.engine.geometry import clear_plans
from spatial_lstm.engine.kernels.cpp import memory

_Result = TypeVar("_Result")


def clear_cache() -> None:
    """Free the memory that is kept from one call to the next, on all devices; it comes back as it is needed.

    There are two caches. Both are bounded:

    - Memory of large tables of the C++ kernel, so that a training step need not ask the system for what the step before gave back: at most
      a quarter of the machine's memory, blocks that went unused for 160 requests excepted, and all but 64 MiB free for the system to take
      meanwhile.
    - Index tables of the other kernels and of the composite, on whatever device: those of the last 64 sizes, of at most 1 GiB together
      (the last one alone where it is larger). The C++ kernel has none. Tables that a captured CUDA graph reads stay.

    Memory that PyTorch itself keeps for a GPU is freed by :func:`torch.cuda.empty_cache`, after this.

    Example:
        >>> clear_cache()
    """
    clear_plans()
    memory.clear()


def with_memory(run: Callable[[], _Result], *, again: bool = True) -> _Result:
    """What ``run`` returns. Where it finds no memory on the CPU it is run ``again``, without what is kept.

    Raises:
        torch.OutOfMemoryError: If there is not enough, on whatever device, whoever finds it out.
    """
    try:
        return run()
    except (MemoryError, RuntimeError) as error:
        if not _lacks_memory(error):
            raise
        if not again:
            raise torch.OutOfMemoryError(f"the layer found no memory: {error}") from error
    clear_cache()  # not before: the error has held what the run has made
    return with_memory(run, again=False)


def _lacks_memory(error: Exception) -> bool:
    """Whether this is what NumPy, a kernel, or torch on the CPU, raises where there is no memory; elsewhere torch says so itself."""
    return isinstance(error, MemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)
