"""The kernel's Python side: from a problem's tensors to pointers."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from spatial_lstm.engine.geometry import packing
from spatial_lstm.engine.kernels.base import GATES, NOTHING, Incoming, Kernel, Results, Saved
from spatial_lstm.engine.kernels.cpp import memory
from spatial_lstm.engine.kernels.cpp.library import BuildError, load
from spatial_lstm.engine.problem import Problem
from spatial_lstm.engine.tensors import Gradients, Weights

TYPES = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}
CELLS = {"spatial": 0, "graves": 1, "stable": 2}
MOST_AXES = 4
WEIGHTS = Weights._fields  # in the order of source/gradient.hpp
WAIT_COST, START_COST = (
    20_000,
    300_000,
)  # multiplications that take as long as threads' meeting once, and as starting them
FAILURES = {
    1: (MemoryError, "the C++ kernel found no memory"),
    2: (RuntimeError, "the C++ kernel was built from another source"),
}


class _Layer(ctypes.Structure):
    """Mirrors ``source/layer.hpp``."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            *(
                "directions",
                "images",
                "raster_rows",
                "sites",
                "edges",
                "face_rows",
                "steps",
                "axes",
                "hidden",
                "inputs",
                "cell",
            ),
            *("threads", "wait_cost", "start_cost"),
        )
    ] + [
        (name, ctypes.c_void_p)
        for name in (
            *("bounds", "site", "pred", "succ", "far_slot"),
            *("x", "weight_ih", "weight_hh", "weight_ch", "bias", "peephole", "h0", "c0"),
        )
    ]


class CppKernel(Kernel):
    """Wavefronts in C++: per site one product on gathered rows with its sums in registers, the gates fused, all directions at once.

    Computes in the input's type (bfloat16 with sums in float32, rounded where it is stored). Threads take directions and groups of images
    of their own, or share out each step's sites where there are too few; no sum's order depends on their number, so neither do the results.
    """

    name = "cpp"

    def unavailable(self) -> str | None:
        if sys.platform == "win32":
            return "not provided on Windows"
        library = load()
        return str(library) if isinstance(library, BuildError) else None

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
        _call("forward", problem, results)
        return results

    def gradients(self, problem: Problem, saved: Saved, incoming: Incoming, wanted: Collection[str]) -> Gradients:
        plan, tensors = problem.plan, problem.tensors
        faces = not {"h0", "c0"}.isdisjoint(wanted)
        near = [
            tensors.x.new_empty((problem.directions, plan.edges, problem.hidden), dtype=dtype) if faces else None
            for dtype in (problem.dtype, problem.carried)
        ]
        empty = tensors.x.new_empty if plan.padding is None else tensors.x.new_zeros
        dx = empty((plan.raster_rows, problem.directions, tensors.x.shape[1])) if "x" in wanted else None
        weights = {
            name: torch.empty_like(weight)
            for name, weight in tensors.present.items()
            if name in wanted and name in WEIGHTS
        }
        tables = (saved.output, None, None, saved.c, saved.gates)
        _call("backward", problem, tables, (*incoming, *near, dx), [weights.get(name) for name in WEIGHTS])
        h0, c0 = (
            packing.near_faces_backward(plan, face) if name in wanted and face is not None else None
            for name, face in zip(("h0", "c0"), near, strict=True)
        )
        return Gradients(
            None if dx is None else dx.sum(1) if problem.directions > 1 else dx.squeeze(1), h0=h0, c0=c0, **weights
        )


def _c_table(problem: Problem, keep: str) -> Tensor:
    """Where c is kept, the near faces filled in."""
    carried, plan = problem.carried, problem.plan
    if keep == NOTHING:
        return problem.tensors.x.new_empty(0, dtype=carried)
    table = memory.new_empty((problem.directions, plan.table_rows, problem.hidden), carried)
    problem.fill_faces(table, problem.tensors.c0)
    return table


def _call(name: str, problem: Problem, *groups: Sequence[Tensor | None]) -> None:
    """Call a function of the library with the layer and structures of pointers."""
    plan, tensors = problem.plan, problem.tensors
    peephole = None if tensors.weight_peephole is None else tensors.weight_peephole.to(problem.carried)
    numbers = (
        *(plan.directions, plan.images, plan.raster_rows, plan.sites, plan.edges, plan.face_rows, plan.steps),
        *(problem.axes, problem.hidden, tensors.x.shape[1], CELLS[problem.cell.name]),
        *(torch.get_num_threads(), WAIT_COST, START_COST),
    )
    pointers = (
        *(plan.image_bounds, plan.site, plan.pred, plan.succ, plan.far_slot),
        *(tensors.x, tensors.weight_ih, tensors.weight_hh, tensors.weight_ch, tensors.bias, peephole),
        *(tensors.h0, tensors.c0),
    )
    layer = _Layer(*numbers, *map(_pointer, pointers))
    structures = [(ctypes.c_void_p * len(group))(*map(_pointer, group)) for group in groups]
    status = getattr(load(), f"{name}_{TYPES[problem.dtype]}")(ctypes.byref(layer), *structures)
    if status:
        kind, message = FAILURES[status]
        raise kind(message)


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None or tensor.numel() == 0 else tensor.data_ptr()
