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
    def backward(
        self, problem: Problem, h: Tensor, c: Tensor, gates: Tensor, dh: Tensor, dc: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``dz`` ``(D, M, B * h)`` and the near faces' ``dh0``, ``dc0`` ``(D, E, h)``.

        ``dh`` and ``dc`` ``(D, M, h)`` are the gradients that reach the sites' states from outside the recurrence;
        ``dc`` is None where that of c is zero.
        """

    def gradients(
        self, problem: Problem, h: Tensor, c: Tensor, dz: Tensor, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Return what is ``wanted`` of: the input's gradient at every site and direction, ``(D, M, C)``, and those of ``weight_ih``,
        ``weight_hh``, ``bias`` and ``weight_ch`` in their shapes; None for the others.
        """
        return products.gradients(problem, h, c, dz, wanted)
