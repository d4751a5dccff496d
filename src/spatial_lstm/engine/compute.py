"""What the operators do: a layer's forward and its hand-derived backward on real tensors, by whichever kernel serves.

Backward runs the wavefronts in reverse for the gradient dz of the gate pre-activations, then every parameter's gradient is one large
product over all sites, e.g. dW_hh = sum over sites dz h_prev^T.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spatial_lstm.engine.autocast import no_autocast
from spatial_lstm.engine.kernels import Incoming, Results, Saved, check_tables, choose_kernel
from spatial_lstm.engine.problem import make_problem
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


class Keep(NamedTuple):
    """What a forward pass keeps for the backward.

    Attributes:
        what: One of :data:`spatial_lstm.engine.kernels.base.KEEPS`.
        sites: Rows to hold for sites: their exact number, or the number without padding where a program is traced and sizes have no values.
        edges: Likewise for near-face entries.
    """

    what: str
    sites: int
    edges: int


def forward(given: Tensors, options: Options, keep: Keep) -> Results:
    """Return the output ``(N, *S, D h)``, flattened far faces ``(D, F, h)`` of h and c, and what is kept."""
    with no_autocast(given.x.device.type):
        problem = make_problem(given, options.sizes, options.directions, options.cell)
        output, far_h, far_c, c, gates = choose_kernel(options.kernel, problem).forward(problem, keep.what)
    output = output.view(*given.x.shape[:-1], -1)
    return Results(output, far_h, far_c, _with_rows(c, keep.sites + keep.edges), _with_rows(gates, keep.sites))


def backward(
    given: Tensors,
    options: Options,
    grads: Sequence[Tensor | None],
    kept: Sequence[Tensor],
    wanted: Collection[str],
) -> dict[str, Tensor]:
    """Return the ``wanted`` gradients in the order of :class:`Tensors`.

    Args:
        given: As the forward.
        options: Likewise.
        grads: Gradients of the forward's output and far faces, None for zeros.
        kept: The forward's output, its table of c and its gates, these of no elements where they were not kept.
        wanted: Names of ``given``.
    """
    output, c, gates = kept
    with no_autocast(given.x.device.type):
        problem = make_problem(given, options.sizes, options.directions, options.cell)
        plan = problem.plan
        states = (plan.raster_rows, plan.directions, problem.hidden)
        saved = Saved(
            output.reshape(states),
            c[:, : plan.table_rows].contiguous(),
            gates[:, : plan.sites].contiguous() if gates.numel() else None,
        )
        grad_output, *grad_faces = (None if grad is None else grad.contiguous() for grad in grads)
        incoming = Incoming(None if grad_output is None else grad_output.view(states), *grad_faces)
        check_tables(problem, saved, incoming)
        found = choose_kernel(options.kernel, problem).gradients(problem, saved, incoming, wanted)
        return {name: getattr(found, name).view(t.shape) for name, t in given.present().items() if name in wanted}


def _with_rows(table: Tensor, rows: int) -> Tensor:
    """Pad dim 1 of ``table`` to ``rows``; a table of no elements, or of that many rows already, stays as it is.

    Raises:
        ValueError: If it has more: a program that was traced for fixed sizes is run on larger ones.
    """
    if table.numel() == 0 or table.shape[1] == rows:
        return table
    if table.shape[1] > rows:
        raise ValueError(
            f"expected no more sites than this program was traced with, tables of {rows} rows, got {table.shape[1]} rows: "
            "trace it anew, or with dynamic sizes (torch.export, torch.compile)"
        )
    return torch.nn.functional.pad(table, (0, 0, 0, rows - table.shape[1]))
