"""Forward and backward through a field's tiles, on real tensors."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from torch import Tensor

from spatial_lstm.engine.autocast import no_autocast
from spatial_lstm.engine.geometry import face_positions
from spatial_lstm.engine.kernels import GATES, NOTHING
from spatial_lstm.engine.problem import grid_of
from spatial_lstm.engine.tensors import state_dtype
from spatial_lstm.engine.tiling.faces import Faces, Pair, positions
from spatial_lstm.engine.tiling.grid import Part, parts
from spatial_lstm.engine.tiling.run import Run
from spatial_lstm.engine.tiling.stage import Stage
from spatial_lstm.engine.tiling.sums import Sums


class Outcome(NamedTuple):
    """What a forward pass computes.

    Attributes:
        output: ``(N, *S, D h)``, or h where directions are merged into one.
        far_h, far_c: ``(P, F, h)``, flattened far faces of all planes.
        near_h, near_c: ``(P, K, h)``, what every tile found on its near faces; of no rows where nothing is kept.
    """

    output: Tensor
    far_h: Tensor
    far_c: Tensor
    near_h: Tensor
    near_c: Tensor


def kept_rows(stage: Stage) -> int:
    """K, rows of the faces that all tiles find; for extents that are symbols, too."""
    return positions(stage.x.shape[0], stage.extents, stage.grid.counts)[-1]


def forward(stage: Stage, keep: bool) -> Outcome:
    """Run every direction through its tiles, and ``keep`` what each tile finds for a backward."""
    x, sizes = stage.x, stage.options.sizes
    grid_of(x, sizes, stage.options.directions)  # refuses sizes that do not fit
    front = _front(stage, stage.h0, stage.c0)
    near = _new_rows(stage, kept_rows(stage) if keep else 0)
    if sizes is not None:  # where there is no image in a tile nothing is written
        near = near[0].zero_(), near[1].zero_()
    kept = Faces(*near, x.shape[0], stage.extents, stage.grid.counts) if keep else None
    written = stage.options.merge == "concat" and sizes is None  # else some places are added to, or left alone
    output = (x.new_empty if written else x.new_zeros)((*x.shape[:-1], stage.width))
    with no_autocast(x.device.type):
        for d, direction in enumerate(stage.directions):
            for part in parts(stage.grid, direction, sizes):
                y = x[part.window]
                for plane in stage.planes_of(d):
                    faces = front.take(plane, part)
                    if kept is not None:
                        kept.put(plane, part, *faces)
                    run = Run.start(stage, plane, part, y, faces, NOTHING)
                    front.put(plane, part, run.results.far_h, run.results.far_c)
                    y = run.output
                _add_output(stage, output, d, part, y)
        if stage.options.merge == "mean":
            output /= len(stage.directions)
    front.clear_padding(sizes)
    return Outcome(output, front.h, front.c, *near)


def backward(stage: Stage, grads: Sequence[Tensor | None], near: Pair, wanted: Collection[str]) -> dict[str, Tensor]:
    """Return the ``wanted`` gradients, by the names of ``stage.tensors``.

    Args:
        stage: As the forward's.
        grads: Gradients of the forward's output and far faces, None for zeros.
        near: What the forward kept.
        wanted: Names.
    """
    x, sizes = stage.x, stage.options.sizes
    grad_output, *grad_far = grads
    front = _front(stage, *grad_far)
    kept = Faces(*near, x.shape[0], stage.extents, stage.grid.counts)
    sums = Sums(stage, wanted)
    grad_x = x.new_zeros(x.shape) if "x" in wanted else None
    with no_autocast(x.device.type):
        for d, direction in enumerate(stage.directions):
            for part in reversed(list(parts(stage.grid, direction, sizes))):
                runs = _again(stage, d, part, kept)
                grad = _take_output(stage, grad_output, d, part)
                while runs:
                    run = runs.pop()
                    grad = _back(run, grad, front, part, sums, bool(runs) or grad_x is not None)
                    del run  # the next tile's tables take the place of this one's
                if grad_x is not None and grad is not None:
                    grad_x[part.window] += grad
    front.clear_padding(sizes)
    found = {"x": grad_x, **sums.finish(x.dtype), "h0": front.h, "c0": front.c}
    return {name: grad for name, grad in found.items() if grad is not None and name in wanted}


def _again(stage: Stage, d: int, part: Part, kept: Faces) -> list[Run]:
    """Run a direction's planes through a part as the forward did, and keep everything."""
    runs: list[Run] = []
    y = stage.x[part.window]
    for plane in stage.planes_of(d):
        runs.append(Run.start(stage, plane, part, y, kept.take(plane, part), GATES))
        y = runs[-1].output
    return runs


def _back(run: Run, grad: Tensor | None, front: Faces, part: Part, sums: Sums, onward: bool) -> Tensor | None:
    """One plane's way back through a part: its faces and its weights get their gradients; return that of its input where it goes on."""
    names = [*sums.wanted(run.plane), "h0", "c0", *(["x"] if onward else [])]
    found = run.back(grad, front.take(run.plane, part), names)
    if found.h0 is not None and found.c0 is not None:
        front.put(run.plane, part, found.h0, found.c0)
    sums.add(run.plane, found)
    return found.x


def _new_rows(stage: Stage, rows: int) -> Pair:
    """Rows of h and c for every plane, uninitialized."""
    x, shape = stage.x, (stage.planes, rows, stage.hidden)
    return x.new_empty(shape), x.new_empty(shape, dtype=state_dtype(x.dtype))


def _front(stage: Stage, h: Tensor | None, c: Tensor | None) -> Faces:
    """A front that starts from flattened faces ``(P, F, h)``, or zeros."""
    rows = _new_rows(stage, face_positions(stage.x.shape[0], stage.extents)[-1])
    for own, given in zip(rows, (h, c), strict=True):
        own.zero_() if given is None else own.copy_(given)
    return Faces(*rows, stage.x.shape[0], stage.extents)


def _columns(stage: Stage, d: int, part: Part) -> tuple[Tensor | slice, ...]:
    """Where in the output a direction's part stands."""
    concat = stage.options.merge == "concat"
    return (*part.window, slice(d * stage.hidden, (d + 1) * stage.hidden) if concat else slice(None))


def _add_output(stage: Stage, output: Tensor, d: int, part: Part, found: Tensor) -> None:
    at = _columns(stage, d, part)
    output[at] = found if stage.options.merge == "concat" else output[at] + found


def _take_output(stage: Stage, grad: Tensor | None, d: int, part: Part) -> Tensor | None:
    """A direction's part of the output's gradient, ``(N', *T, h)``."""
    if grad is None:
        return None
    own = grad[_columns(stage, d, part)]
    return own / len(stage.directions) if stage.options.merge == "mean" else own
