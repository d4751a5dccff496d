"""The stable cell of Leifert et al., Cells in Multidimensional Recurrent Neural Networks, 2016, and Voigtlaender et al., 2016.

m = sum_k w_k*c_k, w = softmax(l_0, .., l_{n-2}, 0) ;  c = s(i)*tanh(g) + s(f)*m ;  h = s(o)*tanh(c)

The c_k are averaged rather than added, so c cannot grow with the number of paths. For n = 1, w_0 = 1 and this is ``torch.nn.LSTM``.
"""

from __future__ import annotations

import numpy as np

from .base import Array, Cell, Equations, Site, SiteGradient, s


def gates(n: int) -> dict[str, str]:
    """Blocks and activations; the last weight has no block, it is one minus the others."""
    return {"i": "s(i)", "f": "s(f)", **{f"l_{k}": f"w_{k}" for k in range(n - 1)}, "g": "tanh(g)", "o": "s(o)"}


def softmax(logits: Array) -> Array:
    """Over the first axis; the largest is taken off so that nothing overflows."""
    e = np.exp(logits - logits.max(0))
    return np.asarray(e / e.sum(0))


def forward(z: Array, c_k: Array, peephole: Array | None) -> Site:
    """One site. There are no peepholes."""
    i, f, g, o = s(z[0]), s(z[1]), np.tanh(z[-2]), s(z[-1])
    w = softmax(np.stack([*z[2:-2], np.zeros_like(z[0])]))  # (n, h)
    m = (w * c_k).sum(0)
    c = i * g + f * m
    h = o * np.tanh(c)
    return Site(z, np.stack([i, f, *w[:-1], g, o]), c, h)


def backward(dh: Array, dc: Array, site: Site, c_k: Array, peephole: Array | None) -> SiteGradient:
    """The softmax: dw_j/dl_k = w_j*([j = k] - w_k), so dm/dl_k = w_k*(c_k - m)."""
    i, f, w, g, o = site.gates[0], site.gates[1], site.gates[2:-2], site.gates[-2], site.gates[-1]
    w = np.stack([*w, 1 - w.sum(0)])
    m = (w * c_k).sum(0)
    t = np.tanh(site.c)
    do = dh * t * o * (1 - o)
    dc = dc + dh * o * (1 - t * t)
    di = dc * g * i * (1 - i)
    df = dc * m * f * (1 - f)
    dl = dc * f * w * (c_k - m)  # (n, h); the last belongs to the constant 0
    dg = dc * i * (1 - g * g)
    return SiteGradient(np.stack([di, df, *dl[:-1], dg, do]), dc, dc * f * w, None)


def equations(n: int) -> Equations:
    """The above in words."""
    first = [f"w_{k}" for k in range(n - 1)]
    w = [*first, f"({' - '.join(['1', *first])})"]
    m = f"({' + '.join(f'{w_k}*c_{k}' for k, w_k in enumerate(w))})"
    return Equations(
        {"c": f"s(i)*tanh(g) + s(f)*{m}", "h": "s(o)*tanh(c)"},
        {
            "do": "dh*tanh(c)*s(o)*(1 - s(o))",
            "dc": "dh*s(o)*(1 - tanh(c)*tanh(c))",
            "di": "dc*tanh(g)*s(i)*(1 - s(i))",
            "df": f"dc*{m}*s(f)*(1 - s(f))",
            **{f"dl_{k}": f"dc*s(f)*w_{k}*(c_{k} - {m})" for k in range(n - 1)},
            "dg": "dc*s(i)*(1 - tanh(g)*tanh(g))",
            **{f"dc_{k}": f"dc*s(f)*{w_k}" for k, w_k in enumerate(w)},
        },
    )


CELL = Cell(gates, forward, backward, equations)
