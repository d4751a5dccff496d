"""The wavefront as users of torch and of JAX write it, for comparison: diagonals one after the other, all directions in one batch.

Every row of an image is shifted right by its number, so that a diagonal becomes a column. Before the loop comes one product for all inputs;
a step shifts the last diagonal's states down by a row for the predecessors above, multiplies, and applies the gates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.fields import Field
from benchmarks.harness import Contestant

# Diagonals that are compiled as one graph.
UNROLLED = 4
# From columns, which of their rows have begun, h, c and weights to the next h and c, and h of every column.
Steps = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def wavefronts(field: Field, *, training: bool, quick: bool) -> list[Contestant]:
    """Both, as far as they can be had, and in a quick run JAX's alone; :func:`missing` names those that are not there."""
    found = [] if quick else [compiled(field, training=training)]
    if find_spec("jax") is not None:
        from benchmarks import jax_wavefront

        found.append(jax_wavefront.jitted(field, training=training))
    return found


def missing(*, quick: bool) -> list[str]:
    """What there is not, and why."""
    reasons = ["torch.compile: takes minutes to compile"] if quick else []
    return (
        reasons
        if find_spec("jax") is not None
        else [*reasons, "JAX: not installed (`pip install 'spatial-lstm[bench]'`)"]
    )


def compiled(field: Field, *, training: bool) -> Contestant:
    """The loop of torch, its steps compiled by inductor."""
    torch.compiler.reset()  # or it would give up after some sizes
    steps = torch.compile(_steps, dynamic=False)
    x, grad, directions = field.x, field.grad, field.make_layer("composite").directions
    ih, hh, bias = weights = tuple(stacked.requires_grad_() for stacked in stacked_weights(field))

    def run() -> list[Tensor]:
        if not training:
            with torch.no_grad():
                return [field.crop(_wavefront(x, ih, hh, bias, directions, steps))]
        leaf = x.detach().requires_grad_()
        output = _wavefront(leaf, ih, hh, bias, directions, steps)
        dx, *rest = torch.autograd.grad(output, [leaf, *weights], grad)
        return [field.crop(output.detach()), field.crop(dx), *by_direction(rest)]

    return Contestant("torch.compile", run, field.expected[training], compiles=True)


def stacked_weights(field: Field) -> tuple[Tensor, Tensor, Tensor]:
    """The layer's ``(D, 5h, C)``, ``(D, 5h, 2h)`` and ``(D, 5h)``, one of each for a direction."""
    by_name = list(field.make_layer("composite").parameters())
    ih, hh, bias = (torch.stack([p.detach() for p in by_name[k::3]]) for k in range(3))
    return ih, hh, bias


def by_direction(gradients: list[Tensor]) -> list[Tensor]:
    """Those of stacked weights in the order of a layer's parameters."""
    return [one for direction in zip(*gradients, strict=True) for one in direction]


def _wavefront(x: Tensor, ih: Tensor, hh: Tensor, bias: Tensor, directions: Sequence[str], steps: Steps) -> Tensor:
    """``(N, H, W, C)`` to ``(N, H, W, D h)``."""
    batch, height, width, _ = x.shape
    hidden = hh.shape[2] // 2
    turned = torch.stack([_flipped(x, direction) for direction in directions])
    z = torch.baddbmm(bias[:, None], turned.flatten(1, 3), ih.transpose(1, 2)).view(*turned.shape[:4], -1)
    diagonals = -(-(height + width - 1) // UNROLLED) * UNROLLED
    z = _skewed(z, diagonals)
    weight = hh.transpose(1, 2)
    begun = torch.arange(diagonals)[:, None] >= torch.arange(height)  # rows begin one after the other
    h = c = x.new_zeros(len(directions), batch, height, hidden)
    output: list[Tensor] = []
    # Split, whose backward is one concatenation; that of a slice would fill a z of its own.
    for part, rows in zip(z.split(UNROLLED), begun[..., None].split(UNROLLED), strict=True):
        h, c, found = steps(part, rows, h, c, weight)
        output.append(found)
    y = _straight(torch.cat(output), width)
    return torch.cat([_flipped(one, direction) for one, direction in zip(y, directions, strict=True)], dim=3)


def _steps(z: Tensor, begun: Tensor, h: Tensor, c: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Some diagonals ``(T, D, N, H, 5h)``; the states are ``(D, N, H, h)``."""
    output = []
    for t in range(UNROLLED):
        above, c_above = (functional.pad(state[:, :, :-1], (0, 0, 1, 0)) for state in (h, c))
        states = torch.cat([above, h], dim=3).flatten(1, 2)
        gates = z[t] + torch.bmm(states, weight).view_as(z[t])
        i, f_above, f_left, g, o = gates.chunk(5, dim=3)
        c = i.sigmoid() * g.tanh() + f_above.sigmoid() * c_above + f_left.sigmoid() * c
        c = torch.where(begun[t], c, 0.0)
        h = (o.sigmoid() * c).tanh()
        output.append(h)
    return h, c, torch.stack(output)


def _flipped(x: Tensor, direction: str) -> Tensor:
    """Images ``(N, H, W, ..)`` as the direction reads them."""
    return x.flip([axis + 1 for axis, letter in enumerate(direction) if letter == "r"])


def _skewed(z: Tensor, diagonals: int) -> Tensor:
    """``(D, N, H, W, F)`` to ``(S, D, N, H, F)``: every row is followed by S + 1 - W zeros, and then cut S long."""
    ways, batch, height, width, features = z.shape
    z = functional.pad(z, (0, 0, 0, diagonals + 1 - width)).flatten(2, 3)[:, :, : height * diagonals]
    return z.view(ways, batch, height, diagonals, features).permute(3, 0, 1, 2, 4)


def _straight(h: Tensor, width: int) -> Tensor:
    """``(S, D, N, H, h)`` to ``(D, N, H, W, h)``."""
    diagonals, ways, batch, height, features = h.shape
    h = functional.pad(h.permute(1, 2, 3, 0, 4).flatten(2, 3), (0, 0, 0, height))
    return h.view(ways, batch, height, diagonals + 1, features)[:, :, :, :width]
