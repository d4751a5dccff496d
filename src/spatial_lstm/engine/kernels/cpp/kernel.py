"""The kernel's Python side: from a problem's tensors to pointers."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from spatial_lstm.engine.kernels.base import FOLDED, GATES, NOTHING, Incoming, Kernel, Results, Saved, gates_dtype
from spatial_lstm.engine.kernels.cpp import library, memory, structures
from spatial_lstm.engine.kernels.cpp.compiler import BuildError
from spatial_lstm.engine.kernels.cpp.structures import TYPES
from spatial_lstm.engine.kernels.folded import is_folded
from spatial_lstm.engine.problem import Problem
from spatial_lstm.engine.tensors import Gradients, Tensors, Weights

MOST_AXES = 4
# What it costs that threads wait for one another once, in multiplications, of which a core with AVX-512 does some 60 a nanosecond in
# float32. A second thread was measured to pay from 40,000 multiplications a step on (two cores of an EPYC), of which it saves half. The
# bare barrier takes 0.2 microseconds, 12,000 multiplications (measured on two cores of a Xeon).
WAIT_COST = 20_000
# What a number costs that one thread computes and another reads, where many do: a line of the cache in 5 nanoseconds. So
# chosen that two threads share out of 31 shapes what was measured to take less, in training and in inference, or at most 6 %
# more (two cores of an EPYC with AVX2).
EXCHANGE_COST = 15
# What it costs to start threads, 5 microseconds: a judgment between the 0.8 that it takes while they are awake (measured on the same Xeon)
# and the tens that it takes once they sleep.
START_COST = 300_000
# What a status other than zero means.
FAILURES: dict[int, tuple[type[Exception], str]] = {
    1: (MemoryError, "the C++ kernel found no memory"),
    2: (RuntimeError, "the compiled library does not provide the cell {cell!r} with {axes} axes"),
    3: (
        RuntimeError,
        "the compiled library's cell {cell!r} with {axes} axes has another number of gates than {blocks}",
    ),
}


class CppKernel(Kernel):
    """Wavefronts in C++: per site one product on gathered rows with its sums in registers, the gates fused, all directions at once.

    Computes in the input's type (bfloat16 with sums in float32, rounded where it is stored). Threads take directions and groups of images
    of their own, or share out each step's sites or features where there are too few; no sum's order depends on their number, so neither do
    the results.
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
        if not x.is_cpu:
            return f"it runs on the CPU, not on {x.device}"
        if x.dtype not in TYPES:
            return f"it computes in float32, float64 and bfloat16, not in {x.dtype}"
        if problem.axes > MOST_AXES:
            return f"it takes at most {MOST_AXES} axes, not {problem.axes}"
        return None if self.name in problem.cell.kernels else f"it does not know the cell {problem.cell.name!r}"

    def forward(self, problem: Problem, keep: str) -> Results:
        grid, x, d, hidden, new = problem.grid, problem.tensors.x, problem.directions, problem.hidden, _new(problem)
        faces, c, gates = (d, grid.face_rows, hidden), None, None
        if keep != NOTHING:
            c = memory.new_empty((d, grid.sites + grid.edges, hidden), problem.carried)
        if keep in (GATES, FOLDED):
            gates = memory.new_empty((d, grid.sites, problem.blocks * hidden), gates_dtype(keep, x.dtype))
        output = new((*x.shape[:-1], d * hidden))
        results = Results(output, new(faces), new(faces, dtype=problem.carried), c, gates)
        _call("forward", problem, _results(problem, results))
        return results

    def gradients(self, problem: Problem, saved: Saved, incoming: Incoming, wanted: Collection[str]) -> Gradients:
        grid, tensors, given, strides = problem.grid, problem.tensors, incoming.output, (0, 0)
        dx = near_h = near_c = None
        new = _new(problem)
        if "x" in wanted:
            *lead, inputs = tensors.x.shape
            dx = new((*lead, inputs) if problem.directions == 1 else (*lead, problem.directions, inputs))
        if "h0" in wanted or "c0" in wanted:
            shape = problem.directions, grid.face_rows, problem.hidden
            near_h, near_c = new(shape), new(shape, dtype=problem.carried)
        if given is not None:
            strides = given.stride(0), given.stride(1)
        new_like = torch.zeros_like if problem.idle else torch.empty_like
        weights = [
            new_like(weight) if weight is not None and name in wanted else None
            for name, weight in zip(Weights._fields, tensors.weights, strict=True)
        ]
        names = ("the gradient of output", "the gradient of far_h", "the gradient of far_c", "near_h", "near_c", "x")
        _call(
            "backward",
            problem,
            _results(problem, (saved.output, None, None, saved.c, saved.gates)),
            structures.BACKWARD_DATA.pack(*_addresses(names, (*incoming, near_h, near_c, dx)), *strides),
            structures.GRADIENTS.pack(*_addresses(Weights._fields, weights)),
        )
        if dx is not None and problem.directions > 1:
            dx = dx.sum(-2)
        near = near_h if "h0" in wanted else None, near_c if "c0" in wanted else None
        return Gradients._make((dx, *weights, *near))


def _new(problem: Problem) -> Callable[..., Tensor]:
    """What makes a table of raster rows or of flattened faces, zero where there is padding."""
    x, padded = problem.tensors.x, problem.grid.padded
    widest = problem.directions * max(problem.hidden, x.shape[-1])
    if problem.grid.raster_rows * widest * x.itemsize < memory.LARGE_PAGE:
        return x.new_zeros if padded else x.new_empty

    def new(shape: tuple[int, ...], dtype: torch.dtype | None = None) -> Tensor:
        made = memory.on_large_pages(x.new_empty(shape, dtype=dtype))
        return made.zero_() if padded else made

    return new


def _results(problem: Problem, results: Sequence[Tensor | None]) -> bytes:
    """Where those of :class:`Results` lie; gates in a place of their own if they are folded."""
    *others, gates = _addresses(Results._fields, results)
    folded = results[-1] is not None and is_folded(results[-1], problem.dtype)
    return structures.RESULTS.pack(*others, *((0, gates) if folded else (gates, 0)))


def _call(name: str, problem: Problem, *passed: bytes) -> None:
    """Call a function of the library with the layer and what else it is passed."""
    tensors = problem.tensors
    if tensors.weight_peephole is not None:
        tensors = tensors._replace(weight_peephole=tensors.weight_peephole.to(problem.carried))
    grid, places = problem.grid, problem.places
    layer = structures.LAYER.pack(
        ctypes.addressof(_c_string(problem.cell.name)),
        problem.directions,
        grid.batch,
        grid.raster_rows,
        grid.sites,
        grid.sites + grid.edges,
        grid.face_rows,
        problem.axes,
        problem.blocks,
        problem.hidden,
        tensors.x.shape[-1],
        torch.get_num_threads(),
        WAIT_COST,
        EXCHANGE_COST,
        START_COST,
        *grid.addresses,
        len(problem.idle),
        *places.sizes,
        *places.addresses,
        *_addresses(Tensors._fields, tensors),
    )
    status = getattr(library.load(), f"{name}_{TYPES[problem.dtype]}")(layer, *passed)
    if status:
        kind, message = FAILURES[status]
        raise kind(message.format(cell=problem.cell.name, axes=problem.axes, blocks=problem.blocks))


@functools.cache
def _c_string(text: str) -> ctypes.Array[ctypes.c_char]:
    """A text as C reads it, which stays where it is."""
    return ctypes.create_string_buffer(text.encode())


def _addresses(names: Sequence[str], tensors: Sequence[Tensor | None]) -> list[int]:
    """Where tensors lie, 0 for those that are not there or have no elements.

    Raises:
        RuntimeError: If one has elements but no memory.
    """
    return [0 if t is None else t.data_ptr() or _of_nothing(names, tensors, t) for t in tensors]


def _of_nothing(names: Sequence[str], tensors: Sequence[Tensor | None], tensor: Tensor) -> int:
    """Where one of ``tensors`` without memory lies: nowhere."""
    if tensor.numel() == 0:
        return 0
    name = next(name for name, each in zip(names, tensors, strict=True) if each is tensor)
    raise RuntimeError(
        f"expected {name} of shape {tuple(tensor.shape)} to have memory, got one whose storage was freed"
    )
