"""What the operators do: a layer's forward and its hand-derived backward on real tensors, by whichever kernel serves.

Backward runs the wavefronts in reverse for the gradient dz of the gate pre-activations, then every parameter's gradient is one large
product over all sites, e.g. dW_hh = sum over sites dz h_prev^T. Autocast is to be off for whoever calls this.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spatial_lstm.engine.cache import with_memory
from spatial_lstm.engine.cells import Cell
from spatial_lstm.engine.geometry import Grid
from spatial_lstm.engine.kernels import FOLDED, Incoming, Kernel, Results, Saved, as_rows, check_tables, choose_kernel
from spatial_lstm.engine.kernels.folded import is_folded
from spatial_lstm.engine.problem import Problem, check_memory, contiguous, make_problem
from spatial_lstm.engine.tensors import Gradients, Tensors

# Of a forward pass, what its backward reads: output, table of c and gates.
Kept = tuple[Tensor, Tensor, Tensor | None]


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


class Course(NamedTuple):
    """How a forward pass went. A backward pass goes by it, and asks nothing again, where all lies as it was left.

    Attributes:
        cell, grid, idle: Of the :class:`~spatial_lstm.engine.problem.Problem`, whose tensors are not held here.
        kernel: What ran it.
        left: See :func:`_as_left`.
    """

    cell: Cell
    grid: Grid
    idle: tuple[int, ...]
    kernel: Kernel
    left: list[object]

    def leads_on(self, given: Tensors, kept: Kept) -> bool:
        """Whether these are what the forward pass was given and has kept: hooks, or programs, may have put others in their place."""
        return self.left == _as_left(given, *kept)


def _as_left(given: Tensors, output: Tensor, *tables: Tensor | None) -> list[object]:
    """Where each lies in memory, its shape and type; only the number of the output's elements, whose directions may be apart."""
    found: list[object] = [None if t is None else (t.data_ptr(), t.shape, t.dtype) for t in (*given, *tables)]
    return [*found, output.data_ptr(), output.numel(), output.dtype]


def forward(given: Tensors, options: Options, keep: str, *, checked: bool = False) -> Results:
    """Run a layer.

    Args:
        given: What it computes from.
        options: What else it is told.
        keep: One of :data:`spatial_lstm.engine.kernels.base.KEEPS`.
        checked: As in :func:`~spatial_lstm.engine.problem.make_problem`.

    Raises:
        torch.OutOfMemoryError: If there is not enough memory, on whatever device, whoever finds it out.
    """
    return _forward(given, options, keep, checked)[0]


def forward_with_course(given: Tensors, options: Options, keep: str) -> tuple[Results, Course]:
    """The same of checked tensors with something kept, and what :func:`backward` may go by."""
    results, problem, kernel = _forward(given, options, keep, True)
    left = _as_left(given, results.output, results.c, results.gates)
    return results, Course(problem.cell, problem.grid, problem.idle, kernel, left)


def _forward(given: Tensors, options: Options, keep: str, checked: bool) -> tuple[Results, Problem, Kernel]:
    def run() -> tuple[Results, Problem, Kernel]:
        problem = make_problem(given, options.sizes, options.directions, options.cell, checked=checked, as_rows=as_rows)
        kernel = choose_kernel(options.kernel, problem, keep == FOLDED)
        return kernel.forward(problem, keep), problem, kernel

    return with_memory(run)


def backward(
    given: Tensors,
    options: Options,
    grads: Sequence[Tensor | None],
    kept: Kept,
    wanted: Collection[str],
    course: Course | None = None,
) -> dict[str, Tensor]:
    """Return the ``wanted`` gradients in the order of :class:`Tensors`.

    Args:
        given: As the forward.
        options: Likewise.
        grads: Gradients of the forward's output, ``(N, *S, D h)`` or ``(N, *S, D, h)``, and far faces, None for zeros.
        kept: The forward's output, its table of c and its gates; these are None, or of no elements, where they were not kept.
        wanted: Names of ``given``.
        course: The forward's, if it leads on, and ``grads`` have been checked by autograd.

    Raises:
        torch.OutOfMemoryError: As the forward.
    """

    def run() -> Gradients:
        if course is None:
            check_memory(given.present())
            problem = make_problem(given, options.sizes, options.directions, options.cell, as_rows=as_rows)
            saved, incoming = _tables(problem, kept, grads)
            check_tables(problem, saved, incoming)
            folded = saved.gates is not None and is_folded(saved.gates, problem.dtype)
            kernel = choose_kernel(options.kernel, problem, folded)
        else:
            problem, kernel = Problem(course.cell, course.grid, contiguous(given, as_rows), course.idle), course.kernel
            saved, incoming = _tables(problem, kept, grads)
        return kernel.gradients(problem, saved, incoming, wanted)

    return {
        name: grad if grad.shape == tensor.shape else grad.view(tensor.shape)
        for name, tensor, grad in zip(Tensors._fields, given, with_memory(run), strict=True)
        if name in wanted and tensor is not None and grad is not None
    }


def _tables(problem: Problem, kept: Kept, grads: Sequence[Tensor | None]) -> tuple[Saved, Incoming]:
    """What a kernel's backward pass reads, as kernels leave it."""
    output, c, gates = kept
    grad_output, *grad_faces = grads
    grid = problem.grid
    saved = Saved(
        (output if output.ndim == problem.tensors.x.ndim else output.flatten(-2)).contiguous(),
        _first(c, grid.sites + grid.edges, problem.hidden),
        _first(gates, grid.sites, problem.blocks * problem.hidden) if gates is not None and gates.numel() else None,
    )
    incoming = Incoming(
        None if grad_output is None else _rows(grad_output, problem),
        *[None if grad is None else grad.contiguous() for grad in grad_faces],
    )
    return saved, incoming


def _rows(grad: Tensor, problem: Problem) -> Tensor:
    """The output's gradient as ``(R, D, h)``, its features side by side; where directions share one they go on to do so."""
    if grad.stride(-1) != 1:
        apart = grad.ndim > problem.tensors.x.ndim
        if apart and grad.stride(-2) == 0:
            grad = as_rows(grad.select(-2, 0)).unsqueeze(-2).expand_as(grad)
        else:
            grad = as_rows(grad.flatten(-2) if apart else grad)
    return grad.reshape(problem.grid.raster_rows, problem.directions, problem.hidden)


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
