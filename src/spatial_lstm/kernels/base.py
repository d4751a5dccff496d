"""What a kernel is given and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from spatial_lstm.kernels import products
from spatial_lstm.problem import Problem


class Kernel(ABC):
    """The wavefront loop, forward and backward, without autograd. Tables are ``(D, M + E, h)``: sites, then near faces."""

    name: ClassVar[str]

    @abstractmethod
    def unavailable(self) -> str | None:
        """Why this kernel cannot run on this machine; None when it can."""

    @abstractmethod
    def unsuited(self, problem: Problem) -> str | None:
        """Why this kernel cannot run, or should not be chosen for, this problem; None when it can."""

    def untrusted(self, problem: Problem) -> str | None:
        """Why ``"auto"`` should not choose this kernel although it can run; None when it may. Asked last, so it may take its time once."""
        return None

    @abstractmethod
    def forward(self, problem: Problem, save_gates: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return the tables of h and c and the activated gates ``(D, M, B * h)`` (empty unless ``save_gates``)."""

    @abstractmethod
    def gradients(
        self,
        problem: Problem,
        h: Tensor,
        c: Tensor,
        gates: Tensor | None,
        dh: Tensor,
        dc: Tensor | None,
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:
        """Return the gradients of the problem's tensors in the order of :class:`spatial_lstm.problem.Tensors`, None where not ``wanted``.

        That of x is given at every site and direction, ``(D, M, C)``, those of the near faces at their entries, ``(D, E, h)``, and the
        weights' in their shapes. ``dh`` and ``dc`` ``(D, M, h)`` are what reaches the sites' states from outside the recurrence; ``dc`` is
        None where it is zero. ``gates`` is None where they were not saved.
        """


class SteppedKernel(Kernel):
    """A kernel that leaves dz, the gradient of the gates' pre-activations, for large products over all sites."""

    @abstractmethod
    def backward(
        self, problem: Problem, h: Tensor, c: Tensor, gates: Tensor, dh: Tensor, dc: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``dz`` ``(D, M, B * h)`` and the near faces' ``dh0``, ``dc0`` ``(D, E, h)``."""

    def gradients(
        self,
        problem: Problem,
        h: Tensor,
        c: Tensor,
        gates: Tensor | None,
        dh: Tensor,
        dc: Tensor | None,
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:
        if gates is None:
            gates = products.recompute_gates(problem, h, c)
        dz, dh0, dc0 = self.backward(problem, h, c, gates, dh, dc)
        return [
            *products.gradients(problem, h, c, dz, wanted[:6]),
            dh0 if wanted[6] else None,
            dc0 if wanted[7] else None,
        ]
