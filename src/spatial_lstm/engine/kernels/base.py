"""What a kernel is given and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from spatial_lstm.engine.kernels import folded
from spatial_lstm.engine.problem import Problem
from spatial_lstm.engine.tensors import Gradients

# What a forward pass keeps for a backward: nothing, c alone, c and the gates, or c and the gates of a float32 layer in 16 bits.
KEEPS = NOTHING, STATES, GATES, FOLDED = ("nothing", "states", "gates", "folded gates")


class Results(NamedTuple):
    """What a forward pass computes, with R raster rows, D directions, F rows of flattened faces and a state table's P = M + E rows.

    Attributes:
        output: ``(N, *S, D h)``, zero in the padding.
        far_h, far_c: ``(D, F, h)``, zero beyond each image's extents.
        c: ``(D, P, h)``, the table of c in an order of the kernel's own; None where nothing is kept.
        gates: ``(D, M, B * h)``, the activated gates in the same order, of :func:`gates_dtype`; None where they are not kept.
    """

    output: Tensor
    far_h: Tensor
    far_c: Tensor
    c: Tensor | None
    gates: Tensor | None


class Saved(NamedTuple):
    """What a backward pass is given of :class:`Results`."""

    output: Tensor
    c: Tensor
    gates: Tensor | None


class Incoming(NamedTuple):
    """The gradients of :class:`Results`' first three, that of the output as ``(R, D, h)``; None where they are zero."""

    output: Tensor | None
    far_h: Tensor | None
    far_c: Tensor | None


def gates_dtype(keep: str, dtype: torch.dtype) -> torch.dtype:
    """In which type a layer of ``dtype`` keeps gates.

    Raises:
        ValueError: If gates of such a layer are not folded.
    """
    if keep != FOLDED:
        return dtype
    if dtype != torch.float32:
        raise ValueError(f"expected a layer in torch.float32 where gates are folded, got {dtype}")
    return folded.DTYPE


def check_tables(problem: Problem, saved: Saved, incoming: Incoming) -> None:
    """Refuse tables of a backward pass that are not of the shapes and dtypes in which a forward pass of this problem leaves them.

    Raises:
        ValueError: If one is not.
    """
    grid, d, h = problem.grid, problem.directions, problem.hidden
    faces = d, grid.face_rows, h
    dtype, carried, device = problem.dtype, problem.carried, problem.tensors.x.device
    may_fold = dtype == torch.float32 and saved.gates is not None and saved.gates.dtype == folded.DTYPE
    of_gates = folded.DTYPE if may_fold else dtype
    for name, table, shape, own in (
        ("output", saved.output, (*problem.tensors.x.shape[:-1], d * h), dtype),
        ("c", saved.c, (d, grid.sites + grid.edges, h), carried),
        ("gates", saved.gates, (d, grid.sites, problem.blocks * h), of_gates),
        ("the gradient of output", incoming.output, (grid.raster_rows, d, h), dtype),
        ("the gradient of far_h", incoming.far_h, faces, dtype),
        ("the gradient of far_c", incoming.far_c, faces, carried),
    ):
        if table is not None and (table.shape != shape or table.dtype != own or table.device != device):
            raise ValueError(
                f"expected {name} of shape {shape} and {own} on {device}, "
                f"got {tuple(table.shape)} and {table.dtype} on {table.device}"
            )


class Kernel(ABC):
    """A layer's recurrence, forward and backward, without autograd."""

    name: ClassVar[str]

    @abstractmethod
    def unavailable(self) -> str | None:
        """Why this kernel cannot run on this machine; None when it can. Asked where a problem suits it, so it may take its time once."""

    def status(self) -> str:
        """What :func:`spatial_lstm.backends` says: ``"available"`` and what there is to add, or why not. Takes no time."""
        reason = self.unavailable()
        return "available" if reason is None else f"unavailable: {reason}"

    @abstractmethod
    def unsuited(self, problem: Problem) -> str | None:
        """Why this kernel cannot run, or should not be chosen for, this problem; None when it can."""

    def untrusted(self, problem: Problem, folded: bool = False) -> str | None:
        """Why ``"auto"`` should not choose this kernel although it can run; None when it may. Asked last, so it may take its time once.

        ``folded`` says whether the gates are, as they are saved.
        """
        return None

    @abstractmethod
    def forward(self, problem: Problem, keep: str) -> Results:
        """Run all steps; ``keep`` is one of :data:`KEEPS`."""

    @abstractmethod
    def gradients(self, problem: Problem, saved: Saved, incoming: Incoming, wanted: Collection[str]) -> Gradients:
        """Return the ``wanted`` gradients, named as in :class:`~spatial_lstm.engine.tensors.Tensors`.

        That of x may be ``(R, C)``, those of weights may have D where these lack it.
        """
