"""The kernel's Python side: from a problem's tensors to pointers."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from spatial_lstm.kernels.base import Kernel
from spatial_lstm.kernels.cpp.library import BuildError, load
from spatial_lstm.problem import Problem, state_dtype

TYPES = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}
CELLS = {"spatial": 0, "graves": 1, "stable": 2}
MOST_AXES = 4
LEAST_WORK = 150_000  # multiplications a step that make a second thread worth its waiting
FAILURES = {
    1: (MemoryError, "the C++ kernel found no memory"),
    2: (RuntimeError, "the C++ kernel was built from another source"),
}


class _Layer(ctypes.Structure):
    """Mirrors ``source/layer.hpp``."""

    _fields_ = (
        *(
            (name, ctypes.c_int64)
            for name in ("directions", "sites", "table_rows", "steps", "axes", "hidden", "inputs", "cell", "threads")
        ),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "offsets",
                "site",
                "pred",
                "succ",
                "x",
                "weight_ih",
                "weight_hh",
                "weight_ch",
                "bias",
                "peephole",
            )
        ),
    )


class CppKernel(Kernel):
    """Wavefronts in C++: per site one product on gathered rows with its sums in registers, the gates fused, all directions at once.

    Computes in the input's type (bfloat16 in float32, rounded where it is stored). Threads share out each step's sites; no sum is ever
    split among them, so that the results do not depend on their number.
    """

    name = "cpp"

    def unavailable(self) -> str | None:
        if sys.platform == "win32":
            return "not provided on Windows"
        library = load()
        return str(library) if isinstance(library, BuildError) else None

    def unsuited(self, problem: Problem) -> str | None:
        x = problem.x
        if x.device.type != "cpu":
            return f"it runs on the CPU, not on {x.device}"
        if x.dtype not in TYPES:
            return f"it computes in float32, float64 and bfloat16, not in {x.dtype}"
        if problem.axes > MOST_AXES:
            return f"it takes at most {MOST_AXES} axes, not {problem.axes}"
        return None if problem.cell.name in CELLS else f"it does not know the cell {problem.cell.name!r}"

    def forward(self, problem: Problem, save_gates: bool) -> tuple[Tensor, Tensor, Tensor]:
        h = problem.new_table(problem.x.dtype, problem.h0)
        c = problem.new_table(state_dtype(problem.x.dtype), problem.c0)
        shape = (problem.directions, problem.plan.sites, problem.blocks * problem.hidden) if save_gates else (0,)
        gates = problem.x.new_empty(shape)
        _call("forward", problem, h, c, gates if save_gates else None)
        return h, c, gates

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
        dh0 = dh.new_empty((problem.directions, problem.plan.edges, problem.hidden))
        dc0 = c.new_empty(dh0.shape)
        dx_shape = (problem.directions, problem.plan.sites, problem.x.shape[1])
        weights = (problem.weight_ih, problem.weight_hh, problem.bias, problem.weight_peephole, problem.weight_ch)
        shapes = [dx_shape, *(None if weight is None else weight.shape for weight in weights)]
        dx, dw_ih, dw_hh, dbias, dw_peephole, dw_ch = found = [
            None if shape is None or not want else dh.new_empty(shape)
            for shape, want in zip(shapes, wanted, strict=False)
        ]
        _call("backward", problem, h, c, gates, dh, dc, dh0, dc0, dx, dw_ih, dw_hh, dw_ch, dbias, dw_peephole)
        return [*found, dh0 if wanted[6] else None, dc0 if wanted[7] else None]


def _call(direction: str, problem: Problem, *tables: Tensor | None) -> None:
    plan = problem.plan
    peephole = problem.weight_peephole
    if peephole is not None:
        peephole = peephole.to(state_dtype(problem.x.dtype))
    kept = [
        plan.site,
        plan.pred,
        plan.succ,
        problem.x,
        problem.weight_ih,
        problem.weight_hh,
        problem.weight_ch,
        problem.bias,
        peephole,
    ]
    inputs = problem.x.shape[1]
    work = plan.directions * plan.sites * problem.blocks * problem.hidden * (inputs + problem.axes * problem.hidden)
    threads = torch.get_num_threads() if work >= LEAST_WORK * max(plan.steps, 1) else 1
    layer = _Layer(
        plan.directions,
        plan.sites,
        plan.table_rows,
        plan.steps,
        problem.axes,
        problem.hidden,
        inputs,
        CELLS[problem.cell.name],
        threads,
        plan.offsets_table.data_ptr(),
        *(None if t is None else t.data_ptr() for t in kept),
    )
    function = getattr(load(), f"{direction}_{TYPES[problem.x.dtype]}")
    status = function(ctypes.byref(layer), *(ctypes.c_void_p(None if t is None else t.data_ptr()) for t in tables))
    if status:
        kind, message = FAILURES[status]
        raise kind(message)
