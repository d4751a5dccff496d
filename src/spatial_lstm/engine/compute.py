"""What the operators do: a layer's forward and its hand-derived backward on real tensors, by whichever kernel serves.

Backward runs the wavefronts in reverse for the gradient dz of the gate pre-activations, then every parameter's gradient is one large
product over all sites, e.g. dW_hh = sum over sites dz h_prev^T. Autocast is to be off for whoever calls this.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spatial_lstm.engine.kernels import FOLDED, Incoming, Results, Saved, check_tables, choose_kernel
from spatial_lstm.engine.kernels.folded import is_folded
from spatial_lstm.engine.problem import Problem, make_problem
from spatial_lstm.engine.tensors import Tensors


class Options(NamedTuple):
    """What a layer is told besides its tensors.

    Attributes:
        sizes: ``(N, n)`` int64, each image's own extent, or None.
        directions: Strings of ``f`` and ``r``, separated by commas.
        cell: Name of the cell.
        kernel: Name of the kernel, or ``"auto"``.
    """

    sizes: Tensor | None
    directions: str
    cell: str
    kernel: str


def forward(given: Tensors, options: Options, keep: str) -> Results:
    """Run a layer.

    ``keep`` is one of :data:`spatial_lstm.engine.kernels.base.KEEPS`.

    Raises:
        torch.OutOfMemoryError: If there is not enough memory, on whatever device, whoever finds it out.
    """
    try:
        problem = make_problem(given, options.sizes, options.directions, options.cell)
        return choose_kernel(options.kernel, problem, keep == FOLDED).forward(problem, keep)
    except (MemoryError, RuntimeError) as error:
        if _lacks_memory(error):
            raise torch.OutOfMemoryError(f"the layer found no memory: {error}") from error
        raise


def backward(
    given: Tensors,
    options: Options,
    grads: Sequence[Tensor | None],
    kept: tuple[Tensor, Tensor, Tensor | None],
    wanted: Collection[str],
) -> dict[str, Tensor]:
    """Return the ``wanted`` gradients in the order of :class:`Tensors`.

    Args:
        given: As the forward.
        options: Likewise.
        grads: Gradients of the forward's output, ``(N, *S, D h)`` or ``(N, *S, D, h)``, and far faces, None for zeros.
        kept: The forward's output, its table of c and its gates; these are None, or of no elements, where they were not kept.
        wanted: Names of ``given``.

    Raises:
        torch.OutOfMemoryError: As the forward.
    """
    output, c, gates = kept
    grad_output, *grad_faces = grads
    try:
        problem = make_problem(given, options.sizes, options.directions, options.cell)
        grid = problem.grid
        saved = Saved(
            (output if output.ndim == given.x.ndim else output.flatten(-2)).contiguous(),
            _first(c, grid.sites + grid.edges, problem.hidden),
            _first(gates, grid.sites, problem.blocks * problem.hidden) if gates is not None and gates.numel() else None,
        )
        incoming = Incoming(
            None if grad_output is None else _rows(grad_output, problem),
            *[None if grad is None else grad.contiguous() for grad in grad_faces],
        )
        check_tables(problem, saved, incoming)
        folded = saved.gates is not None and is_folded(saved.gates, problem.dtype)
        found = choose_kernel(options.kernel, problem, folded).gradients(problem, saved, incoming, wanted)
    except (MemoryError, RuntimeError) as error:
        if _lacks_memory(error):
            raise torch.OutOfMemoryError(f"the layer found no memory: {error}") from error
        raise
    return {
        name: grad if grad.shape == tensor.shape else grad.view(tensor.shape)
        for name, tensor, grad in zip(Tensors._fields, given, found, strict=True)
        if name in wanted and tensor is not None and grad is not None
    }


def _lacks_memory(error: Exception) -> bool:
    """Whether this is what NumPy, or torch on the CPU, raises where there is no memory; elsewhere torch says so itself."""
    return isinstance(error, MemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)


def _rows(grad: Tensor, problem: Problem) -> Tensor:
    """The output's gradient as ``(R, D, h)``, its features side by side; where directions share one they go on to do so."""
    rows = grad.reshape(problem.grid.raster_rows, problem.directions, problem.hidden)
    return rows if rows.stride(-1) == 1 else rows.contiguous()


def _first(table: Tensor, rows: int, features: int) -> Tensor:
    """Without what :func:`enlarged` has added."""
    return (table if table.shape[1:] == (rows, features) else table[:, :rows, :features]).contiguous()


def enlarged(table: Tensor, rows: int, features: int) -> Tensor:
    """``table`` ``(D, rows, features)``, padded where it has less, since padding of images and idle axes save some.

    Raises:
        ValueError: If it has more: a program that was traced for fixed sizes is run on larger ones.
    """
    if table.shape[1:] == (rows, features):
        return table
    if table.shape[1] > rows:
        raise ValueError(
            f"expected no more sites than this program was traced with, tables of {rows} rows, got {table.shape[1]} rows: "
            "trace it anew, or with dynamic sizes (torch.export, torch.compile)"
        )
    return torch.nn.functional.pad(table, (0, features - table.shape[2], 0, rows - table.shape[1]))
