"""The cell of Graves, Fernandez & Schmidhuber, Multi-Dimensional Recurrent Neural Networks, 2007, arXiv:0705.2011.

c = s(i)*tanh(g) + sum_k s(f_k)*c_k ;  h = s(o)*tanh(c)

With peepholes p, i has sum_k p_ik*c_k added before its activation, f_k has p_fk*c_k, and o has p_o*c, the new c.
For n = 1 without peepholes this is ``torch.nn.LSTM``.
"""

from __future__ import annotations

import numpy as np

from .base import Array, Cell, Equations, Site, SiteGradient, back_to_gates, forget_gates, s, sum_of_paths


def forward(z: Array, c_k: Array, peephole: Array | None) -> Site:
    """One site; the peepholes' rows are i of axis 0 .. n-1, f_0 .. f_{n-1}, o."""
    n = len(c_k)
    z_i, z_f, z_g, z_o = z[0], z[1:-2], z[-2], z[-1]
    if peephole is not None:
        z_i = z_i + (peephole[:n] * c_k).sum(0)
        z_f = z_f + peephole[n:-1] * c_k
    i, f, g = s(z_i), s(z_f), np.tanh(z_g)
    c = i * g + (f * c_k).sum(0)
    if peephole is not None:
        z_o = z_o + peephole[-1] * c
    o = s(z_o)
    h = o * np.tanh(c)
    return Site(np.stack([z_i, *z_f, z_g, z_o]), np.stack([i, *f, g, o]), c, h)


def backward(dh: Array, dc: Array, site: Site, c_k: Array, peephole: Array | None) -> SiteGradient:
    """The output gate's peephole hands do on to c, those of the other gates di and df_k to the c_k."""
    n = len(c_k)
    i, f, g, o = site.gates[0], site.gates[1:-2], site.gates[-2], site.gates[-1]
    t = np.tanh(site.c)
    do = dh * t * o * (1 - o)
    dc = dc + dh * o * (1 - t * t)
    if peephole is not None:
        dc = dc + do * peephole[-1]
    di = dc * g * i * (1 - i)
    df = dc * c_k * f * (1 - f)
    dg = dc * i * (1 - g * g)
    dz, dc_k = np.stack([di, *df, dg, do]), dc * f
    if peephole is None:
        return SiteGradient(dz, dc, dc_k, None)
    dc_k = dc_k + di * peephole[:n] + df * peephole[n:-1]
    return SiteGradient(dz, dc, dc_k, np.stack([*(di * c_k), *(df * c_k), do * site.c]))


def equations(n: int) -> Equations:
    """The above in words, without peepholes."""
    return Equations(
        {"c": sum_of_paths(n), "h": "s(o)*tanh(c)"},
        {"do": "dh*tanh(c)*s(o)*(1 - s(o))", "dc": "dh*s(o)*(1 - tanh(c)*tanh(c))", **back_to_gates(n)},
    )


CELL = Cell(forget_gates, forward, backward, equations, takes_peephole=True)
