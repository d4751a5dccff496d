r"""Forward, site by site, predecessors first; no speed tricks.

With x the input of a site and h_k, c_k the states of its predecessor along axis k (those of the near face outside the grid),

.. math::
    z = W_{ih} x + W_{hh} [h_0; \dots; h_{n-1}] + b \; (+ \; W_{ch} [c_0; \dots; c_{n-1}])

and a cell makes c and h of z and the c_k: :data:`spatial_lstm.reference.CELLS`, one file each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .arguments import Faces, FacesLike, Given, check
from .cells import Array, Site
from .lattice import Lattice, Point, at, on_face


class Forward(NamedTuple):
    """What :func:`forward` returns; N images of h features and B gate blocks. Beyond an image's own extent all is zero."""

    h: Array
    """``(N, h, *S)``"""
    c: Array
    """``(N, h, *S)``"""
    gates: Array
    """``(N, B, h, *S)``: activated, in the order of the cell's blocks (see ``CELLS[cell].gates(n)``)."""
    state: Faces
    """The far faces."""
    z: Array
    """``(N, B, h, *S)``: the gates before activation, peepholes included."""
    given: Given
    """The arguments, for :func:`~spatial_lstm.reference.backward`."""


def forward(
    x: ArrayLike,
    weight_ih: ArrayLike,
    weight_hh: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    cell: str = "spatial",
    direction: str | None = None,
    weight_peephole: ArrayLike | None = None,
    weight_ch: ArrayLike | None = None,
    state: FacesLike | None = None,
    sizes: ArrayLike | None = None,
) -> Forward:
    """Run one layer in one direction, in the dtype of x. The axes n follow from x, the features h from ``weight_hh``.

    Args:
        x: ``(N, C, *S)``.
        weight_ih: ``(B h, C)``, B the number of the cell's gates: ``len(CELLS[cell].gates(n))``.
        weight_hh: ``(B h, n h)``, the columns of axis 0's predecessor first.
        bias: ``(B h,)`` or None.
        cell: A name in :data:`~spatial_lstm.reference.CELLS`.
        direction: One letter per axis, ``f`` or ``r``; None is all forward.
        weight_peephole: ``(2n + 1, h)``, rows i of axis 0 .. n-1, f_0 .. f_{n-1}, o; with ``"graves"`` alone.
        weight_ch: ``(B h, n h)``, with ``"spatial"`` alone.
        state: The near faces ``(h, c)``, n faces each, face k ``(N, h, *S without axis k)``; None, or None for a face, stands for zeros.
        sizes: ``(N, n)`` integers, each image's own extent; what lies beyond is never read.

    Raises:
        ValueError: If anything does not fit.
    """
    given = check(x, weight_ih, weight_hh, bias, cell, direction, weight_peephole, weight_ch, state, sizes)
    blocks, hidden = given.blocks, given.hidden
    result = Forward(
        h=given.zeros(hidden),
        c=given.zeros(hidden),
        gates=given.zeros(blocks, hidden),
        state=given.faces(None, "state"),
        z=given.zeros(blocks, hidden),
        given=given,
    )
    for image, lattice in enumerate(given.lattices):
        for p in lattice.sites():
            h_k, c_k = predecessors(result, image, p)
            site = _visit(given, given.x[at(image, p)], h_k, c_k)
            _keep(result, image, p, site, lattice)
    return result


def _visit(given: Given, x: Array, h_k: Array, c_k: Array) -> Site:
    """One site, from its input ``(C,)`` and its predecessors' states ``(n, h)``."""
    z = given.weight_ih @ x + given.weight_hh @ np.concatenate(h_k)
    if given.weight_ch is not None:
        z = z + given.weight_ch @ np.concatenate(c_k)
    if given.bias is not None:
        z = z + given.bias
    return given.cell.forward(z.reshape(given.blocks, given.hidden), c_k, given.weight_peephole)


def predecessors(result: Forward, image: int, p: Point) -> tuple[Array, Array]:
    """h_k and c_k at p, ``(n, h)`` each: the predecessors' states, or those of the near face."""
    lattice, near = result.given.lattices[image], result.given.near

    def state(field: Array, faces: Sequence[Array], k: int) -> Array:
        before = lattice.predecessor(p, k)
        return faces[k][at(image, on_face(p, k))] if before is None else field[at(image, before)]

    axes = range(result.given.n)
    h_k = np.stack([state(result.h, near.h, k) for k in axes])
    c_k = np.stack([state(result.c, near.c, k) for k in axes])
    return h_k, c_k


def _keep(result: Forward, image: int, p: Point, site: Site, lattice: Lattice) -> None:
    """Write a site to its place, and to the far faces that it lies on."""
    here = at(image, p)
    result.z[here], result.gates[here], result.c[here], result.h[here] = site
    for k in range(result.given.n):
        if lattice.successor(p, k) is None:
            there = at(image, on_face(p, k))
            result.state.h[k][there], result.state.c[k][there] = site.h, site.c
