r"""The layer's recurrence in plain differentiable torch without index tables, for programs that are traced.

On the skewed grid of :mod:`spatial_lstm.engine.geometry.skew` the recurrence is one loop that carries h and c of the plane of all axes
but the last. The predecessor along the last axis is the same row of the plane one step before, the one along axis k the row with
:math:`q_k - 1`. A row starts from the near face of the last axis, and keeps its state wherever it has no site.

Each step computes the whole plane, so places without a site are computed, too: H (H + W - 1) for H W sites of an image, so a wide one costs
less than its transpose.
:mod:`spatial_lstm.engine.composite` computes sites alone, where its tables can be built.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spatial_lstm.engine.cells import Cell, get_cell
from spatial_lstm.engine.geometry.skew import NOWHERE, Skew
from spatial_lstm.engine.layout import parse_directions
from spatial_lstm.engine.problem import check_tensors
from spatial_lstm.engine.tensors import Tensors, state_dtype

# From the carried tensors, one row of every input and the constants to what is carried on and what is put out.
Step = Callable[..., tuple[list[Tensor], list[Tensor]]]
# Of a step, the tensors carried, the inputs by step and the constants: the outputs by step.
Loop = Callable[[Step, list[Tensor], list[Tensor], list[Tensor]], list[Tensor]]


def forward(
    tensors: Tensors, sizes: Tensor | None, directions: str, cell: str, loop: Loop
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output and the far faces of h and c; arguments and shapes as in :mod:`spatial_lstm.engine.operator`.

    ``loop`` is :func:`unrolled` or :func:`scanned`.
    """
    found, letters = get_cell(cell), parse_directions(directions.split(","), tensors.x.ndim - 2)
    check_tensors(found, tensors, letters)
    x, padded = tensors.x, sizes is not None
    skew = Skew(x.shape[0], x.shape[1:-1], letters, None if sizes is None else sizes.to(x.device), x.device)
    carried, faces = _near_faces(tensors, skew)
    sites = skew.sites()
    inputs = [_take(x.flatten(0, -2), sites), (sites != NOWHERE).unsqueeze(-1), *faces]
    step = _make_step(found, extended=tensors.weight_ch is not None)
    h, c = (table.flatten(0, -2) for table in loop(step, carried, inputs, _constants(tensors)))
    output, far = skew.output(), skew.far_faces()
    return _take(h, output, padded), _take(h, far, padded), _take(c, far, padded)


def unrolled(step: Step, carried: list[Tensor], inputs: list[Tensor], constants: list[Tensor]) -> list[Tensor]:
    """Step by step in Python: any derivative and any transform, for a number of steps that is known."""
    outputs = []
    for rows in zip(*(table.unbind(0) for table in inputs), strict=True):
        carried, found = step(*carried, *rows, *constants)
        outputs.append(found)
    return [torch.stack(tables) for tables in zip(*outputs, strict=True)]


def scanned(step: Step, carried: list[Tensor], inputs: list[Tensor], constants: list[Tensor]) -> list[Tensor]:
    """As one operation of the traced program, for any number of steps; without derivatives."""
    results = _Scan.apply(step, len(carried), len(inputs), *carried, *inputs, *constants)  # type: ignore[no-untyped-call]
    return list(results)


class _Scan(torch.autograd.Function):
    """Refuses derivatives: torch 2.13 cannot decompose the derivative of a scan over sizes without values.

    Reads a private name of torch; a test fails should it go.
    """

    @staticmethod
    def forward(ctx: Any, step: Step, carried: int, inputs: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        plain = [tensor.detach() for tensor in tensors]
        end = carried + inputs

        def body(*arguments: Tensor) -> list[Tensor]:
            onward, found = step(*arguments)
            return [*onward, *found]

        results: list[Tensor] = torch.ops.higher_order.scan(body, plain[:carried], plain[carried:end], plain[end:])
        return tuple(results[carried:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, ...]:
        raise RuntimeError("expected no derivative of a layer within an exported ONNX program, got one")


def _near_faces(tensors: Tensors, skew: Skew) -> tuple[list[Tensor], list[Tensor]]:
    """Near faces of h and c: of the last axis, which the loop starts from, and of all others, which it reads step by step."""
    n = tensors.x.ndim - 2
    hidden, dtype = tensors.weight_hh.shape[2] // n, tensors.x.dtype
    rows = [skew.near_face(axis) for axis in range(n)]
    groups = []
    for faces, carried in ((tensors.h0, dtype), (tensors.c0, state_dtype(dtype))):
        if faces is None:
            groups.append([tensors.x.new_zeros((*at.shape, hidden), dtype=carried) for at in rows])
        else:
            groups.append([_take(faces.flatten(0, 1), at) for at in rows])
    (*h, last_h), (*c, last_c) = groups
    return [last_h, last_c], [*h, *c]


def _constants(tensors: Tensors) -> list[Tensor]:
    """``[W_ih W_hh W_ch]^T`` ``(D, features, B h)``, the bias ``(D, 1, B h)`` and, where there are any, peepholes ``(D, 1, 2n + 1, h)``."""
    weights = [w for w in (tensors.weight_ih, tensors.weight_hh, tensors.weight_ch) if w is not None]
    bias = tensors.weight_hh.new_zeros(tensors.weight_hh.shape[:2]) if tensors.bias is None else tensors.bias
    constants = [torch.cat(weights, dim=-1).mT, bias.unsqueeze(1)]
    if tensors.weight_peephole is not None:
        constants.append(tensors.weight_peephole.unsqueeze(1).to(state_dtype(tensors.x.dtype)))
    return constants


def _make_step(cell: Cell, extended: bool) -> Step:
    """One diagonal: h and c are ``(D, N, *plane, h)``, x ``(D, N, *plane, C)``."""

    def step(h: Tensor, c: Tensor, x: Tensor, exists: Tensor, *others: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        axes = h.ndim - 2
        faces, (weight, bias, *peephole) = others[: 2 * (axes - 1)], others[2 * (axes - 1) :]
        h_prev, c_prev = _predecessors(h, faces[: axes - 1]), _predecessors(c, faces[axes - 1 :])
        features = [x, *h_prev, *(each.to(x.dtype) for each in c_prev if extended)]
        z = torch.cat(features, dim=-1).flatten(1, -2) @ weight + bias
        gates = z.unflatten(-1, (-1, h.shape[-1])).to(c.dtype)
        found = cell.forward(gates, torch.stack(c_prev, dim=-2).flatten(1, -3), peephole[0] if peephole else None)
        new_h, new_c = found[0].to(h.dtype).reshape(h.shape), found[1].reshape(c.shape)
        return [torch.where(exists, new_h, h), torch.where(exists, new_c, c)], [new_h, new_c]

    return step


def _predecessors(state: Tensor, faces: tuple[Tensor, ...]) -> list[Tensor]:
    """The states along every axis; ``faces`` enter at the first place of all axes but the last."""
    shifted = [
        torch.cat([face, state.narrow(axis, 0, state.shape[axis] - 1)], dim=axis)
        for axis, face in enumerate(faces, start=2)
    ]
    return [*shifted, state]


def _take(table: Tensor, rows: Tensor, padded: bool = False) -> Tensor:
    """Rows of a table ``(rows, features)``; where there is none any row, or zeros if ``padded``."""
    # Not index_select: Inductor of torch 2.13 compiles vmap of its derivative wrongly.
    found = functional.embedding(rows.clamp(min=0), table)
    return found.masked_fill((rows == NOWHERE).unsqueeze(-1), 0) if padded else found
