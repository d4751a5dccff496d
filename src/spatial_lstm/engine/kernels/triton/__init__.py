"""The wavefront loop in Triton kernels, for CUDA devices. Nothing here imports triton before a kernel is to run."""

from __future__ import annotations

import functools
import importlib.util
import os
from typing import ClassVar

import torch
from torch import Tensor

from spatial_lstm.engine.kernels.tables import TableKernel
from spatial_lstm.engine.kernels.triton.check import self_check
from spatial_lstm.engine.kernels.triton.choice import MOST_HIDDEN, Choice, choose, described
from spatial_lstm.engine.kernels.triton.launcher import on
from spatial_lstm.engine.kernels.triton.rows import ROWS
from spatial_lstm.engine.kernels.triton.trial import subject_of
from spatial_lstm.engine.problem import Problem

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)

# From here on tensor cores take TF32 and bfloat16, and for nothing older do the tests compile.
_CAPABILITY = (8, 0)


class TritonKernel(TableKernel):
    """Fused kernels, of the variant that :func:`choose` finds best; products and sums in float32 whatever the dtype.

    Results are bitwise repeatable: every sum has one order, and nothing is added atomically.
    """

    name = "triton"
    variant: ClassVar[str | None] = None
    rows = ROWS

    def unavailable(self) -> str | None:
        return None if interpreted() and _installed() else _unavailable()

    def unsuited(self, problem: Problem) -> str | None:
        x = problem.tensors.x
        if "triton" not in problem.cell.kernels:
            return f"it does not know the cell {problem.cell.name!r}"
        if x.dtype not in _DTYPES:
            return f"it computes in {', '.join(str(d).removeprefix('torch.') for d in _DTYPES)}, not in {x.dtype}"
        if not interpreted():
            if x.device.type != "cuda":
                return f"its tensors must be on a CUDA device, not on {x.device}"
            capability = torch.cuda.get_device_capability(x.device)
            if capability < _CAPABILITY:
                return f"it needs compute capability {_CAPABILITY}, and {x.device} has {capability}"
        if self.variant == "images" and problem.hidden > MOST_HIDDEN:
            return f"one program cannot hold {problem.hidden} features"
        return None

    def untrusted(self, problem: Problem, folded: bool = False) -> str | None:
        if interpreted():
            return None
        return self_check(subject_of(problem, self.choice(problem), folded))

    def choice(self, problem: Problem) -> Choice:
        """What will run ``problem``; its text says so in words."""
        return choose(problem, self.variant, described(problem.tensors.x.device))

    def forward_tables(self, problem: Problem, keep: str) -> tuple[Tensor, Tensor, Tensor | None]:
        from spatial_lstm.engine.kernels.triton import launch

        with on(problem.tensors.x.device):
            return launch.forward(problem, self.choice(problem), keep)

    def backward_tables(
        self, problem: Problem, h: Tensor, c: Tensor, gates: Tensor, dh: Tensor, dc: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        from spatial_lstm.engine.kernels.triton import launch

        with on(problem.tensors.x.device):
            return launch.backward(problem, self.choice(problem), h, c, gates, dh, dc)


class TritonGatesKernel(TritonKernel):
    """Per step a library's product and one kernel for all gate arithmetic."""

    name = "triton-gates"
    variant = "gates"


class TritonStepKernel(TritonKernel):
    """Per step one kernel."""

    name = "triton-step"
    variant = "step"


class TritonImagesKernel(TritonKernel):
    """One kernel for all steps, a program per few images; for small hidden sizes."""

    name = "triton-images"
    variant = "images"


TRITON_KERNELS = (TritonKernel(), TritonGatesKernel(), TritonStepKernel(), TritonImagesKernel())


@functools.cache
def _installed() -> bool:
    return importlib.util.find_spec("triton") is not None


@functools.cache
def _unavailable() -> str | None:
    if not _installed():
        return "triton is not installed"
    if not torch.cuda.is_available() or torch.version.cuda is None:
        return "there is no CUDA device"
    return None


def interpreted() -> bool:
    """Whether Triton's interpreter was asked for: kernels then run on any device, slowly, to be checked."""
    return os.environ.get("TRITON_INTERPRET") == "1"
