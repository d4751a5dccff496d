"""The kernel's Python side: from a problem's tensors to pointers."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from spatial_lstm.engine.geometry import packing
from spatial_lstm.engine.kernels.base import GATES, NOTHING, Incoming, Kernel, Results, Saved
from spatial_lstm.engine.kernels.cpp import library, memory, structures
from spatial_lstm.engine.kernels.cpp.compiler import BuildError
from spatial_lstm.engine.problem import Problem
from spatial_lstm.engine.tensors import Gradients, Tensors, Weights

TYPES = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}
MOST_AXES = 4
# What it costs that threads wait for one another once, in multiplications, of which a core with AVX-512 does some 60 a nanosecond in
# float32. A second thread was measured to pay from 40,000 multiplications a step on (two cores of an EPYC), of which it saves half. The
# bare barrier takes 0.2 microseconds, 12,000 multiplications (measured on two cores of a Xeon).
WAIT_COST = 20_000
# What it costs to start threads, 5 microseconds: a judgment between the 0.8 that it takes while they are awake (measured on the same Xeon)
# and the tens that it takes once they sleep.
START_COST = 300_000
# What a status other than zero means.
FAILURES: dict[int, tuple[type[Exception], str]] = {
    1: (torch.OutOfMemoryError, "the C++ kernel found no memory"),
    2: (RuntimeError, "the compiled library does not provide the cell {cell!r} with {axes} axes"),
    3: (
        RuntimeError,
        "the compiled library's cell {cell!r} with {axes} axes has another number of gates than {blocks}",
    ),
}


class CppKernel(Kernel):
    """Wavefronts in C++: per site one product on gathered rows with its sums in registers, the gates fused, all directions at once.

    Computes in the input's type (bfloat16 with sums in float32, rounded where it is stored). Threads take directions and groups of images
    of their own, or share out each step's sites where there are too few; no sum's order depends on their number, so neither do the results.
    """

    name = "cpp"

    def unavailable(self) -> str | None:
        found = library.load()
        return str(found) if isinstance(found, BuildError) else None

    def status(self) -> str:
        found = library.find()
        if found is None:
            return "available, compiled on first use"
        if isinstance(found, BuildError):
            return f"unavailable: {found}"
        return "available" if library.has_threads(found) else "available, on one thread: compiled without OpenMP"

    def unsuited(self, problem: Problem) -> str | None:
        x = problem.tensors.x
        if x.device.type != "cpu":
            return f"it runs on the CPU, not on {x.device}"
        if x.dtype not in TYPES:
            return f"it computes in float32, float64 and bfloat16, not in {x.dtype}"
        if problem.axes > MOST_AXES:
            return f"it takes at most {MOST_AXES} axes, not {problem.axes}"
        return None if self.name in problem.cell.kernels else f"it does not know the cell {problem.cell.name!r}"

    def forward(self, problem: Problem, keep: str) -> Results:
        plan, x, carried = problem.plan, problem.tensors.x, problem.carried
        d, hidden = problem.directions, problem.hidden
        empty = x.new_empty if plan.padding is None else x.new_zeros
        slots = x.new_empty if plan.face_padding is None else x.new_zeros
        results = Results(
            empty((plan.raster_rows, d, hidden)),
            slots((d, plan.face_rows, hidden)),
            slots((d, plan.face_rows, hidden), dtype=carried),
            _c_table(problem, keep),
            memory.new_empty((d, plan.sites, problem.blocks * hidden) if keep == GATES else (0,), x.dtype),
        )
        _call("forward", problem, structures.Results(**_pointers(results._asdict())))
        return results

    def gradients(self, problem: Problem, saved: Saved, incoming: Incoming, wanted: Collection[str]) -> Gradients:
        plan, x = problem.plan, problem.tensors.x
        empty = x.new_empty if plan.padding is None else x.new_zeros
        dx = empty((plan.raster_rows, problem.directions, x.shape[1])) if "x" in wanted else None
        near: dict[str, Tensor] = {}
        if not {"h0", "c0"}.isdisjoint(wanted):
            shape = (problem.directions, plan.edges, problem.hidden)
            near = {"near_h": x.new_empty(shape), "near_c": x.new_empty(shape, dtype=problem.carried)}
        weights = {
            name: torch.empty_like(weight)
            for name, weight in problem.tensors.present().items()
            if name in wanted and name in Weights._fields
        }
        _call(
            "backward",
            problem,
            structures.Results(**_pointers(saved._asdict())),
            structures.BackwardData(**_pointers({**incoming._asdict(), **near, "x": dx})),
            structures.Gradients(**_pointers(weights)),
        )
        return Gradients(
            x=None if dx is None else dx.sum(1) if problem.directions > 1 else dx.squeeze(1),
            h0=packing.near_faces_backward(plan, near["near_h"]) if "h0" in wanted else None,
            c0=packing.near_faces_backward(plan, near["near_c"]) if "c0" in wanted else None,
            **weights,
        )


def _c_table(problem: Problem, keep: str) -> Tensor:
    """Where c is saved, the near faces filled in."""
    carried, plan = problem.carried, problem.plan
    if keep == NOTHING:
        return problem.tensors.x.new_empty(0, dtype=carried)
    table = memory.new_empty((problem.directions, plan.table_rows, problem.hidden), carried)
    problem.fill_faces(table, problem.tensors.c0)
    return table


def _call(name: str, problem: Problem, *passed: ctypes.Structure) -> None:
    """Call a function of the library with the layer and what else it is passed."""
    tensors = problem.tensors
    if tensors.weight_peephole is not None:
        tensors = tensors._replace(weight_peephole=tensors.weight_peephole.to(problem.carried))
    layer = _layer(problem, tensors)
    status = getattr(library.load(), f"{name}_{TYPES[problem.dtype]}")(*map(ctypes.byref, (layer, *passed)))
    if status:
        kind, message = FAILURES[status]
        raise kind(message.format(cell=problem.cell.name, axes=problem.axes, blocks=problem.blocks))


def _layer(problem: Problem, tensors: Tensors) -> structures.Layer:
    """What the library is told of the layer; ``tensors`` are the caller's to keep until it returns."""
    plan = problem.plan
    tables = {
        "bounds": plan.image_bounds,
        "site": plan.site,
        "pred": plan.pred,
        "succ": plan.succ,
        "far_slot": plan.far_slot,
    }
    return structures.Layer(
        cell=problem.cell.name.encode(),
        directions=plan.directions,
        images=plan.images,
        raster_rows=plan.raster_rows,
        sites=plan.sites,
        edges=plan.edges,
        face_rows=plan.face_rows,
        steps=plan.steps,
        axes=problem.axes,
        blocks=problem.blocks,
        hidden=problem.hidden,
        inputs=tensors.x.shape[1],
        threads=torch.get_num_threads(),
        wait_cost=WAIT_COST,
        start_cost=START_COST,
        **_pointers({**tables, **tensors._asdict()}),
    )


def _pointers(tensors: Mapping[str, Tensor | None]) -> dict[str, int | None]:
    """Where each tensor's elements lie; None for none."""
    return {name: _pointer(name, tensor) for name, tensor in tensors.items()}


def _pointer(name: str, tensor: Tensor | None) -> int | None:
    if tensor is None:
        return None
    address = tensor.data_ptr()
    if address == 0 and tensor.numel() > 0:
        shape = tuple(tensor.shape)
        raise RuntimeError(f"expected {name} of shape {shape} to have memory, got one whose storage was freed")
    return address
