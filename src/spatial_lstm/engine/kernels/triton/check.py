"""Before ``"auto"`` relies on compiled kernels, they have to reproduce the plain one on the device at hand.

What is checked is what will run: the same :class:`~spatial_lstm.engine.kernels.triton.choice.Choice` of kernels and tiles for the same
cell, hidden size, type and device, once per process. Triton compiles a kernel for each of these anyway.
"""

from __future__ import annotations

import warnings

import torch

from spatial_lstm.engine.kernels.triton.trial import Errors, Subject, measure

# By the type and how products are taken. Rounding to numbers of 24, 11 and 8 bits leaves a seventh of them at most, another cell's
# equations or a weight left out more than twice as much, as tests/test_triton_check.py finds; TF32 has 11 bits, but in products alone.
EXACT = Errors(largest=1e-4, rms=1e-4)
TF32 = Errors(largest=1e-2, rms=1e-2)
HALF = {torch.float16: Errors(largest=1e-2, rms=3e-3), torch.bfloat16: Errors(largest=5e-2, rms=2e-2)}

_found: dict[Subject, str | None] = {}


def self_check(subject: Subject) -> str | None:
    """Say why the kernels cannot be trusted, after a warning that says it too; None where they reproduce the plain one.

    The answer is remembered, but for two that may pass: there was no memory, or a CUDA graph is being captured, which the check must not
    become a part of. Then the kernels are not used, and asked again next time.
    """
    if subject in _found:
        return _found[subject]
    if _capturing(subject.device):
        return _warn(
            subject,
            "they have not been checked, and cannot be while a CUDA graph is captured; run the layer once before",
        )
    try:
        reason = _differ(subject)
    except Exception as failure:  # whatever compiler, driver or launch raise
        reason = f"they do not run on {subject.device}: {failure}"
        if _out_of_memory(failure):
            return _warn(subject, reason)
    _found[subject] = reason
    return None if reason is None else _warn(subject, reason)


def bound_of(subject: Subject) -> Errors:
    """The errors that rounding may leave."""
    if subject.dtype in HALF:
        return HALF[subject.dtype]
    return TF32 if subject.choice.precision == "tf32" else EXACT


def _differ(subject: Subject) -> str | None:
    errors, bound = measure(subject), bound_of(subject)
    if errors.within(bound):
        return None
    return (
        f"they differ from the plain one by {errors.largest:.2g} of the largest entry and by {errors.rms:.2g} in the mean square, "
        f"expected at most {bound.largest:g} and {bound.rms:g}, on {subject.device}"
    )


def _warn(subject: Subject, reason: str) -> str:
    warnings.warn(
        f"Triton's kernels ({subject.choice}) are not used for {subject.cell!r} cells of {subject.hidden} features in {subject.dtype}, "
        f"another kernel runs instead: {reason}",
        stacklevel=3,
    )
    return reason


def _capturing(device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    with torch.cuda.device(device):
        return torch.cuda.is_current_stream_capturing()


def _out_of_memory(failure: Exception) -> bool:
    """Whether a failure is for want of memory: torch, the driver and its libraries each say so in their own way."""
    text = str(failure).lower()
    return (
        isinstance(failure, (MemoryError, torch.OutOfMemoryError)) or "out of memory" in text or "alloc_failed" in text
    )
