"""The cell of the Diagonal BiLSTM of van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks, 2016, arXiv:1601.06759.

c = s(i)*tanh(g) + s(f)*c_last ;  h = s(o)*tanh(c)

Of the predecessors' c only that along the last axis is seen (the left one, in an image), of their h all. So there is one path along which c
adds up, whatever n is. For n = 1 this is ``torch.nn.LSTM``.
"""

from __future__ import annotations

import numpy as np

from .base import Array, Cell, Equations, Site, SiteGradient, s


def gates(n: int) -> dict[str, str]:
    """Blocks and activations, the same for every n."""
    return {"i": "s(i)", "f": "s(f)", "g": "tanh(g)", "o": "s(o)"}


def forward(z: Array, c_k: Array, peephole: Array | None) -> Site:
    """One site. There are no peepholes."""
    i, f, g, o = s(z[0]), s(z[1]), np.tanh(z[2]), s(z[3])
    c = i * g + f * c_k[-1]
    h = o * np.tanh(c)
    return Site(z, np.stack([i, f, g, o]), c, h)


def backward(dh: Array, dc: Array, site: Site, c_k: Array, peephole: Array | None) -> SiteGradient:
    """The product rule; the predecessors that c does not see get nothing back through it."""
    i, f, g, o = site.gates
    t = np.tanh(site.c)
    do = dh * t * o * (1 - o)
    dc = dc + dh * o * (1 - t * t)
    di = dc * g * i * (1 - i)
    df = dc * c_k[-1] * f * (1 - f)
    dg = dc * i * (1 - g * g)
    dc_k = np.zeros_like(c_k)
    dc_k[-1] = dc * f
    return SiteGradient(np.stack([di, df, dg, do]), dc, dc_k, None)


def equations(n: int) -> Equations:
    """The above in words."""
    last = f"c_{n - 1}"
    return Equations(
        {"c": f"s(i)*tanh(g) + s(f)*{last}", "h": "s(o)*tanh(c)"},
        {
            "do": "dh*tanh(c)*s(o)*(1 - s(o))",
            "dc": "dh*s(o)*(1 - tanh(c)*tanh(c))",
            "di": "dc*tanh(g)*s(i)*(1 - s(i))",
            "df": f"dc*{last}*s(f)*(1 - s(f))",
            "dg": "dc*s(i)*(1 - tanh(g)*tanh(g))",
            **{f"dc_{k}": "0" for k in range(n - 1)},
            f"d{last}": "dc*s(f)",
        },
    )


CELL = Cell(gates, forward, backward, equations)
