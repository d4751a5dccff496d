"""Before ``"auto"`` relies on compiled kernels, they have to reproduce the plain one on the device at hand."""

from __future__ import annotations

import functools
import warnings

import torch
from torch import Tensor

from spatial_lstm.engine.cells import get_cell
from spatial_lstm.engine.kernels.plain import PlainKernel
from spatial_lstm.engine.kernels.triton.choice import choose
from spatial_lstm.engine.problem import Problem, make_problem
from spatial_lstm.engine.tensors import Tensors

HIDDEN, CHANNELS, BATCH, EXTENT = 32, 5, 3, 4
ERROR = {
    torch.float32: 1e-2,
    torch.float16: 5e-2,
    torch.bfloat16: 2e-1,
}  # what TF32 and rounding leave, far below what a fault does


@functools.cache
def self_check(
    variant: str, cell: str, axes: int, peephole: bool, extended: bool, dtype: torch.dtype, device: torch.device
) -> str | None:
    """Run a small problem, forward and backward, with the kernels and with :class:`PlainKernel`, once per process.

    Returns:
        Why the kernels cannot be trusted, after a warning that says so; None where the results agree.
    """
    problem = _problem(cell, axes, peephole, extended, dtype, device)
    try:
        with torch.cuda.device(device):
            error = _error(problem, variant)
    except Exception as failure:  # whatever compiler, driver or launch raise
        reason = f"its kernels do not run on {device}: {failure}"
    else:
        if error <= ERROR[dtype]:
            return None
        reason = f"its kernels differ from the plain one by {error:.2g} on {device}"
    warnings.warn(
        f"Triton is not used for {cell!r} cells in {dtype}, the plain kernel runs instead: {reason}", stacklevel=2
    )
    return reason


def _problem(cell: str, axes: int, peephole: bool, extended: bool, dtype: torch.dtype, device: torch.device) -> Problem:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return (torch.randn(shape, generator=generator) / 4).to(device, dtype)

    rows = get_cell(cell).blocks(axes) * HIDDEN
    x = draw(BATCH, *(EXTENT + k for k in range(axes)), CHANNELS)
    tensors = Tensors(
        x,
        draw(1, rows, CHANNELS),
        draw(1, rows, axes * HIDDEN) / 4,
        draw(1, rows),
        draw(1, 2 * axes + 1, HIDDEN) if peephole else None,
        draw(1, rows, axes * HIDDEN) / 4 if extended else None,
        None,
        None,
    )
    return make_problem(tensors, None, "f" * axes, cell)


def _error(problem: Problem, variant: str) -> float:
    """The largest error relative to the largest entry, of states and gradients."""
    from spatial_lstm.engine.kernels.triton import launch

    plain, choice = PlainKernel(), choose(problem, variant)
    sites = problem.plan.sites
    h, c, gates = plain.forward_tables(problem, True)
    found = launch.forward(problem, choice, True)
    dh = torch.ones_like(h[:, :sites])
    pairs = list(zip(found, (h, c, gates), strict=True))
    dz, _, _ = launch.backward(problem, choice, h, c, gates, dh, None)
    pairs.append((dz, plain.backward_tables(problem, h, c, gates, dh, None)[0]))
    return max(float((a.float() - b.float()).abs().max() / b.float().abs().max().clamp(min=1e-3)) for a, b in pairs)
