"""The cell of Theis & Bethge, Generative Image Modeling Using Spatial LSTMs, 2015, arXiv:1506.03478.

c = s(i)*tanh(g) + sum_k s(f_k)*c_k ;  h = tanh(s(o)*c)
"""

from __future__ import annotations

import numpy as np

from .base import Array, Cell, Equations, Site, SiteGradient, back_to_gates, forget_gates, s, sum_of_paths


def forward(z: Array, c_k: Array, peephole: Array | None) -> Site:
    """One site. There are no peepholes."""
    i, f, g, o = s(z[0]), s(z[1:-2]), np.tanh(z[-2]), s(z[-1])  # f: (n, h)
    c = i * g + (f * c_k).sum(0)
    h = np.tanh(o * c)
    return Site(z, np.stack([i, *f, g, o]), c, h)


def backward(dh: Array, dc: Array, site: Site, c_k: Array, peephole: Array | None) -> SiteGradient:
    """With u = s(o)*c: du = dh*(1 - h^2) reaches both o and c; the rest is the product rule."""
    i, f, g, o = site.gates[0], site.gates[1:-2], site.gates[-2], site.gates[-1]
    du = dh * (1 - site.h * site.h)
    do = du * site.c * o * (1 - o)
    dc = dc + du * o
    di = dc * g * i * (1 - i)
    df = dc * c_k * f * (1 - f)
    dg = dc * i * (1 - g * g)
    return SiteGradient(np.stack([di, *df, dg, do]), dc, dc * f, None)


def equations(n: int) -> Equations:
    """The above in words."""
    return Equations(
        {"c": sum_of_paths(n), "h": "tanh(s(o)*c)"},
        {"do": "dh*(1 - h*h)*c*s(o)*(1 - s(o))", "dc": "dh*(1 - h*h)*s(o)", **back_to_gates(n)},
    )


CELL = Cell(forget_gates, forward, backward, equations, takes_extended=True)
