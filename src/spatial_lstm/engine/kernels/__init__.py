"""What runs inside the operator, the loop over wavefronts and what goes with it.

A new kernel is one file here and one entry in :data:`KERNELS`.
"""

from __future__ import annotations

from spatial_lstm.engine.kernels.base import (
    FOLDED,
    GATES,
    NOTHING,
    STATES,
    Incoming,
    Kernel,
    Results,
    Saved,
    check_tables,
    gates_dtype,
)
from spatial_lstm.engine.kernels.cpp import CppKernel, as_rows
from spatial_lstm.engine.kernels.plain import PlainKernel
from spatial_lstm.engine.kernels.triton import TRITON_KERNELS
from spatial_lstm.engine.problem import Problem

# "auto" takes the first that is suited, available and trusted: for each device the best first.
KERNELS: dict[str, Kernel] = {kernel.name: kernel for kernel in (CppKernel(), *TRITON_KERNELS, PlainKernel())}

__all__ = [
    "FOLDED",
    "GATES",
    "KERNELS",
    "NOTHING",
    "STATES",
    "Incoming",
    "Kernel",
    "Results",
    "Saved",
    "UnsuitedError",
    "as_rows",
    "check_tables",
    "choose_kernel",
    "gates_dtype",
]


class UnsuitedError(ValueError):
    """A kernel that was asked for by name cannot run here, or not this problem."""


def choose_kernel(name: str, problem: Problem, folded: bool = False) -> Kernel:
    """Return the kernel called ``name``, or for ``"auto"`` the best one for ``problem``, with its gates ``folded`` or not.

    Raises:
        UnsuitedError: If the named kernel cannot run this problem here.
    """
    if name == "auto":
        for kernel in KERNELS.values():  # next() takes twice the time, which a small call notices
            if not (kernel.unsuited(problem) or kernel.unavailable() or kernel.untrusted(problem, folded)):
                return kernel
    if name not in KERNELS:
        raise ValueError(f"expected a kernel, one of {('auto', *KERNELS)}, got {name!r}")
    kernel = KERNELS[name]
    reason = kernel.unsuited(problem) or kernel.unavailable()
    if reason is not None:
        raise UnsuitedError(f"expected a backend that can run here, got {name!r}: {reason}")
    return kernel
