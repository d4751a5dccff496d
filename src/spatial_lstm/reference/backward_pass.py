"""Backward, site by site, in the opposite order: derived by hand, by the chain rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .arguments import Faces, FacesLike, Given, array
from .cells import Array, Site, SiteGradient
from .forward_pass import Forward, predecessors
from .lattice import Point, at, on_face


class SiteGradients(NamedTuple):
    """The gradients of what lies between, at every site; zero beyond an image's own extent."""

    h: Array
    """``(N, h, *S)``: of the site's h, from its own cost and from all successors."""
    c: Array
    """``(N, h, *S)``: of its c, likewise, and through its h."""
    z: Array
    """``(N, B, h, *S)``: of its gates before activation."""
    h_k: Array
    """``(N, n, h, *S)``: what the site hands on to the h of its predecessor along axis k."""
    c_k: Array
    """``(N, n, h, *S)``: what it hands on to the c of its predecessor along axis k."""


class Gradients(NamedTuple):
    """What :func:`backward` returns: each the shape of what it belongs to; None where that was None, but for the near faces."""

    x: Array
    weight_ih: Array
    weight_hh: Array
    bias: Array | None
    weight_peephole: Array | None
    weight_ch: Array | None
    state: Faces
    """Of the near faces."""
    sites: SiteGradients


def backward(
    result: Forward,
    grad_h: ArrayLike | None = None,
    grad_c: ArrayLike | None = None,
    grad_state: FacesLike | None = None,
) -> Gradients:
    """The gradients of a cost, from those with respect to what :func:`~spatial_lstm.reference.forward` returned; None stands for zeros.

    Args:
        result: What :func:`~spatial_lstm.reference.forward` returned.
        grad_h: ``(N, h, *S)``; like ``grad_c``, never read beyond an image's own extent.
        grad_c: ``(N, h, *S)``.
        grad_state: Of the far faces, in the form of ``state``.

    Raises:
        ValueError: If a shape does not fit.
    """
    given = result.given
    own_h = given.zeros(given.hidden) if grad_h is None else array(grad_h, "grad_h", result.h.shape, given.x)
    own_c = given.zeros(given.hidden) if grad_c is None else array(grad_c, "grad_c", result.c.shape, given.x)
    far = given.faces(grad_state, "grad_state")
    grads = _zeros(given)
    for image, lattice in enumerate(given.lattices):
        for p in reversed(lattice.sites()):
            here = at(image, p)
            dh = own_h[here] + _from_successors(grads.sites.h_k, far.h, given, image, p)
            dc = own_c[here] + _from_successors(grads.sites.c_k, far.c, given, image, p)
            h_k, c_k = predecessors(result, image, p)
            site = Site(result.z[here], result.gates[here], result.c[here], result.h[here])
            grad = given.cell.backward(dh, dc, site, c_k, given.weight_peephole)
            _add_to_weights(grads, grad, given.x[here], h_k, c_k)
            grads.sites.h[here] = dh
            _hand_on(grads, grad, given, image, p)
    return grads


def _from_successors(handed: Array, far: Sequence[Array], given: Given, image: int, p: Point) -> Array:
    """What the successors along all axes hand back to p, ``(h,)``; at the far face, the gradient of what left there."""
    total = np.zeros(given.hidden, handed.dtype)
    for k in range(given.n):
        after = given.lattices[image].successor(p, k)
        total += far[k][at(image, on_face(p, k))] if after is None else handed[:, k][at(image, after)]
    return total


def _add_to_weights(grads: Gradients, grad: SiteGradient, x: Array, h_k: Array, c_k: Array) -> None:
    """All sites share the weights, so each adds its part: z = W y has dW = dz y^T."""
    dz = grad.z.reshape(-1)
    grads.weight_ih[...] += np.outer(dz, x)
    grads.weight_hh[...] += np.outer(dz, h_k)
    if grads.weight_ch is not None:
        grads.weight_ch[...] += np.outer(dz, c_k)
    if grads.bias is not None:
        grads.bias[...] += dz
    if grads.weight_peephole is not None and grad.peephole is not None:
        grads.weight_peephole[...] += grad.peephole


def _hand_on(grads: Gradients, grad: SiteGradient, given: Given, image: int, p: Point) -> None:
    """To the input and the predecessors: z = W y has dy = W^T dz. Beyond the near face, it is the face's gradient."""
    dz = grad.z.reshape(-1)
    dh_k = (given.weight_hh.T @ dz).reshape(given.n, given.hidden)
    dc_k = grad.c_k
    if given.weight_ch is not None:
        dc_k = dc_k + (given.weight_ch.T @ dz).reshape(given.n, given.hidden)
    here = at(image, p)
    grads.x[here] = given.weight_ih.T @ dz
    grads.sites.z[here], grads.sites.c[here] = grad.z, grad.c
    grads.sites.h_k[here], grads.sites.c_k[here] = dh_k, dc_k
    for k in range(given.n):
        if given.lattices[image].predecessor(p, k) is None:
            there = at(image, on_face(p, k))
            grads.state.h[k][there], grads.state.c[k][there] = dh_k[k], dc_k[k]


def _zeros(given: Given) -> Gradients:
    """Zeros of every shape."""
    n, hidden = given.n, given.hidden
    optional = (given.bias, given.weight_peephole, given.weight_ch)
    bias, peephole, ch = (None if weight is None else np.zeros_like(weight) for weight in optional)
    sites = SiteGradients(
        h=given.zeros(hidden),
        c=given.zeros(hidden),
        z=given.zeros(given.blocks, hidden),
        h_k=given.zeros(n, hidden),
        c_k=given.zeros(n, hidden),
    )
    weights = np.zeros_like(given.weight_ih), np.zeros_like(given.weight_hh)
    return Gradients(np.zeros_like(given.x), *weights, bias, peephole, ch, given.faces(None, "state"), sites)
