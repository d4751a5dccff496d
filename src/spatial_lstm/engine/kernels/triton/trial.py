"""A problem small enough to run at once, that meets everything which some kernels can meet, and their errors on it.

Every tile is met, whole and cut off by an edge, and every program, full and with images left over; near faces are given and gates kept, so
that no part of a kernel stays unused.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from spatial_lstm.engine.cells import get_cell
from spatial_lstm.engine.geometry import face_positions
from spatial_lstm.engine.kernels.base import FOLDED, GATES
from spatial_lstm.engine.kernels.folded import unfold
from spatial_lstm.engine.kernels.plain import PlainKernel
from spatial_lstm.engine.kernels.triton.choice import Choice
from spatial_lstm.engine.kernels.triton.launcher import on
from spatial_lstm.engine.kernels.triton.rows import ROWS, WORTH_IT
from spatial_lstm.engine.problem import Problem, make_problem
from spatial_lstm.engine.tensors import Tensors, state_dtype

# Input features: few, since the product with the input is torch's own.
CHANNELS = 5

# Extent of the first axis, where a program needs no more to outgrow its tile; each further axis is longer by one.
EXTENT = 3


class Subject(NamedTuple):
    """What is tried: all that a compiled kernel depends on.

    Attributes:
        choice: The kernels, their tiles, and how they take products.
        cell: Its name.
        axes: Their number, n.
        hidden: Features, a constant in the compiled kernels.
        peephole: Whether there are peepholes.
        extended: Whether the gates see the predecessors' c.
        dtype: Of input, weights and h.
        device: Where they run.
        folded: Whether the gates are, as they are saved.
    """

    choice: Choice
    cell: str
    axes: int
    hidden: int
    peephole: bool
    extended: bool
    dtype: torch.dtype
    device: torch.device
    folded: bool = False


class Errors(NamedTuple):
    """How far a tensor is from the expected one: errors over expected entries, the largest of each and the root mean square of each."""

    largest: float
    rms: float

    def within(self, bound: Errors) -> bool:
        """Whether neither is larger; NaN is."""
        return self.largest <= bound.largest and self.rms <= bound.rms


def subject_of(problem: Problem, choice: Choice, folded: bool = False) -> Subject:
    """What has to be tried before ``problem`` runs."""
    peephole, extended = (name in problem.tensors.present() for name in ("weight_peephole", "weight_ch"))
    device = problem.tensors.x.device
    return Subject(
        choice, problem.cell.name, problem.axes, problem.hidden, peephole, extended, problem.dtype, device, folded
    )


def measure(subject: Subject) -> Errors:
    """The kernels' worst errors in states, gates and gradients, each gate for itself, against :class:`PlainKernel` in float64."""
    from spatial_lstm.engine.kernels.triton import launch

    generator = torch.Generator(subject.device).manual_seed(0)
    tensors = draw_tensors(subject, generator)
    doubled = Tensors(**{name: tensor.double() for name, tensor in tensors.present().items()})
    problem, exact = _problem(subject, tensors), _problem(subject, doubled)
    shape = (2, problem.directions, problem.plan.sites, problem.hidden)
    incoming = torch.randn(shape, generator=generator, device=subject.device)
    dh, dc = incoming[0].to(subject.dtype), incoming[1]
    with on(subject.device):
        h, c, gates = launch.forward(problem, subject.choice, FOLDED if subject.folded else GATES)
        assert gates is not None
        dz, *faces = launch.backward(problem, subject.choice, h, c, gates, dh, dc)
    table, index = _draw_rows(problem, generator)
    rows = [ROWS.take(table, index), ROWS.total(table)]
    read = unfold(gates) if subject.folded else gates
    # What is expected is computed last: what the kernels leave out must not be found right in memory that is used again.
    plain = PlainKernel()
    *states, exact_gates = plain.forward_tables(exact, GATES)
    assert exact_gates is not None
    exact_dz, *exact_faces = plain.backward_tables(exact, *(t.double() for t in (h, c, read, dh, dc)))
    if subject.folded:
        read = _but_for_rounding(read.double(), exact_gates)
    table = table.double()
    found = [h, c, *_by_gate(problem, read), *_by_gate(problem, dz), *faces, *rows]
    expected = [*states, *_by_gate(problem, exact_gates), *_by_gate(problem, exact_dz), *exact_faces]
    expected += [table.index_select(1, index), table.sum(1)]
    errors = [_errors(a.double(), b) for a, b in zip(found, expected, strict=True)]
    return Errors(*torch.stack(errors).amax(0).tolist())


def draw_tensors(subject: Subject, generator: torch.Generator) -> Tensors:
    """Two directions of everything that the subject has.

    Gates are open to 0.6 / n in the mean, at most to a half, and little of c enters them: so c stays near one in a field of any size.
    """
    n, h, d = subject.axes, subject.hidden, 2
    images, extents = field_of(subject.choice, n)
    rows, faces = get_cell(subject.cell).blocks(n) * h, face_positions(images, extents)[-1]

    def draw(*shape: int, within: float, mean: float = 0.0) -> Tensor:
        drawn = 2 * torch.rand(shape, generator=generator, device=subject.device) - 1
        return (within * drawn + mean).to(subject.dtype)

    share, size = min(0.5, 0.6 / n), (n * h) ** -0.5
    return Tensors(
        x=draw(images, *extents, CHANNELS, within=1.5),
        weight_ih=draw(d, rows, CHANNELS, within=1.5 * CHANNELS**-0.5),
        weight_hh=draw(d, rows, n * h, within=size),
        bias=draw(d, rows, within=0.4, mean=math.log(share / (1 - share))),
        weight_peephole=draw(d, 2 * n + 1, h, within=0.25) if subject.peephole else None,
        weight_ch=draw(d, rows, n * h, within=0.5 * size) if subject.extended else None,
        h0=draw(d, faces, h, within=1.0),
        c0=draw(d, faces, h, within=1.0).to(state_dtype(subject.dtype)),
    )


def field_of(choice: Choice, axes: int) -> tuple[int, tuple[int, ...]]:
    """How many images, of which extents, meet every tile and program of a choice.

    Of kernels that run a step at a time, the longest step has more rows than a tile. Of those that run all steps, the images of a program
    have, if there is more than one axis, and a program is left with one image.
    """
    rows, first = max(choice.forward.rows, choice.backward.rows), EXTENT
    if choice.variant == "images":
        while axes > 1 and choice.group * _longest_step(_extents(first, axes)) <= rows:
            first += 1
        return choice.group + 1, _extents(first, axes)
    extents = _extents(first, axes)
    return rows // _longest_step(extents) + 1, extents


def _extents(first: int, axes: int) -> tuple[int, ...]:
    return tuple(range(first, first + axes))


def _longest_step(extents: tuple[int, ...]) -> int:
    """Sites in an image's longest step."""
    counts = [1]
    for extent in extents:
        counts = [sum(counts[max(0, s - extent + 1) : s + 1]) for s in range(len(counts) + extent - 1)]
    return max(counts)


def _problem(subject: Subject, tensors: Tensors) -> Problem:
    n = subject.axes
    return make_problem(tensors, None, f"{'f' * n},{'r' * n}", subject.cell).lean()


def _draw_rows(problem: Problem, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A table as wide as that of dz, and an index, both long enough to be left to kernels."""
    width, device = problem.blocks * problem.hidden, problem.tensors.x.device
    rows = WORTH_IT // width + 1
    table = torch.randn((problem.directions, rows, width), generator=generator, device=device).to(problem.dtype)
    return table, torch.randint(rows, (rows,), generator=generator, device=device)


def _by_gate(problem: Problem, table: Tensor) -> tuple[Tensor, ...]:
    """Each gate of ``(D, M, B h)``: the gradients of some are far smaller than those of others."""
    gates: tuple[Tensor, ...] = table.unflatten(-1, (problem.blocks, problem.hidden)).unbind(2)
    return gates


def _but_for_rounding(found: Tensor, expected: Tensor) -> Tensor:
    """Folded gates, nearer to what is expected by what rounding to 16 bits may have left, or cutting, as Triton's interpreter does."""
    left = 2.0**-7 * torch.minimum(expected.abs(), 1 - expected.abs())
    error = found - expected
    return expected + (error.abs() - left).clamp(min=0).copysign(error)


def _errors(found: Tensor, expected: Tensor) -> Tensor:
    """Those of :class:`Errors`, ``(2,)``; NaN where ``found`` has any."""
    errors, sizes = (torch.stack([t.abs().amax(), t.square().mean().sqrt()]) for t in (found - expected, expected))
    return errors / sizes.clamp(min=torch.finfo(sizes.dtype).tiny)
