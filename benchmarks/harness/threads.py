"""How many threads everything takes: torch, and the BLAS that numpy brings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

# The BLAS of numpy's that threadpoolctl knows by these names.
NAMES = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS"}


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Run what is inside on so many threads."""
    before = torch.get_num_threads()
    held: Any = nullcontext() if (pool := _pool()) is None else pool.limit(limits=count)
    with held:
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def numpy_blas() -> str | None:
    """The name of numpy's BLAS, as far as :func:`on_threads` has it in hand; None where it has not."""
    pool = _pool()
    return None if pool is None else NAMES[pool.info()[0]["internal_api"]]


def _pool() -> Any:
    """What holds numpy's BLAS to a number of threads; None where there is none that threadpoolctl knows."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    pool = ThreadpoolController().select(internal_api=list(NAMES))
    return pool if pool.info() else None
