"""What is kept from one call to the next."""

from __future__ import annotations

from spatial_lstm.engine.geometry import clear_plans
from spatial_lstm.engine.kernels.cpp import memory


def clear_cache() -> None:
    """Free the memory that is kept from one call to the next, on all devices; it comes back as it is needed.

    There are two caches. Both are bounded:

    - Memory of large tables of the C++ kernel, so that a training step need not ask the system for what the step before gave back: at most
      a quarter of the machine's memory, blocks that went unused for 64 requests excepted, and free for the system to take meanwhile.
    - Index tables of the other kernels and of the composite, on whatever device: those of the last 64 sizes, of at most 1 GiB together
      (the last one alone where it is larger). The C++ kernel has none. Tables that a captured CUDA graph reads stay.

    Memory that PyTorch itself keeps for a GPU is freed by :func:`torch.cuda.empty_cache`, after this.

    Example:
        >>> clear_cache()
    """
    clear_plans()
    memory.clear()
