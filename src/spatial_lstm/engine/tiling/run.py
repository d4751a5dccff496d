"""One plane in one tile."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from torch import Tensor

from spatial_lstm.engine.cache import with_memory
from spatial_lstm.engine.kernels import Incoming, Kernel, Results, Saved, as_rows, choose_kernel
from spatial_lstm.engine.problem import Problem, make_problem
from spatial_lstm.engine.tensors import Gradients, Tensors, Weights
from spatial_lstm.engine.tiling.faces import Pair
from spatial_lstm.engine.tiling.grid import Part
from spatial_lstm.engine.tiling.stage import Stage


class Run(NamedTuple):
    """A plane's forward pass through a part, and what it takes to go back.

    Attributes:
        plane: The plane's number.
        problem, kernel, results: What was computed, by what, and what came of it.
        output: ``(N', *T, h)``.
    """

    plane: int
    problem: Problem
    kernel: Kernel
    results: Results
    output: Tensor

    @classmethod
    def start(cls, stage: Stage, plane: int, part: Part, x: Tensor, near: Pair, keep: str) -> Run:
        """Run forward on the part's input ``(N', *T, C)`` from its near faces."""
        depth, d = divmod(plane, len(stage.directions))
        weights = Weights._make(None if weight is None else weight[d : d + 1] for weight in stage.layers[depth])
        tensors = Tensors(as_rows(x), *weights, h0=near[0], c0=near[1])
        problem = make_problem(tensors, part.sizes, stage.directions[d], stage.options.cell)
        kernel = choose_kernel(stage.options.kernel, problem)
        results = with_memory(lambda: kernel.forward(problem, keep))
        return cls(plane, problem, kernel, results, results.output)

    def back(self, grad: Tensor | None, far: Pair, wanted: Collection[str]) -> Gradients:
        """The ``wanted`` gradients, from those of the output ``(N', *T, h)`` and of the far faces; that of x is ``(N', *T, C)``."""
        output, _, _, c, gates = self.results
        assert c is not None  # for there was to be a backward
        saved = Saved(output, c, gates)
        if grad is not None:
            grad = as_rows(grad).flatten(0, -2).unsqueeze(1)
        found = with_memory(lambda: self.kernel.gradients(self.problem, saved, Incoming(grad, *far), wanted))
        return found if found.x is None else found._replace(x=found.x.view(*self.output.shape[:-1], -1))
