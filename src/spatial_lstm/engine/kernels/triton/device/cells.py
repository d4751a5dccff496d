# mypy: ignore-errors
"""The cells' equations on tiles ``(rows, features)`` in float32: one tuple entry per gate block or axis.

``peephole`` is a tuple of 2n + 1 tiles ``(1, features)``, or an empty one.
"""

import triton
import triton.language as tl

from spatial_lstm.engine.kernels.triton.device.activations import sigmoid, tanh


@triton.jit
def forward_cell(z, c_prev, peephole, CELL: tl.constexpr, N: tl.constexpr, PEEPHOLE: tl.constexpr):
    """Return the activated gates, c and h."""
    if CELL == "stable":
        gates, c = _forward_mixed(z, c_prev, N)
    else:
        gates, c = _forward_summed(z, c_prev, peephole, N, PEEPHOLE)
    o = z[N + 2]
    if PEEPHOLE:
        o += peephole[2 * N] * c
    o = sigmoid(o)
    h = tanh(o * c) if CELL == "spatial" else o * tanh(c)
    return gates + (o,), c, h


@triton.jit
def _forward_summed(z, c_prev, peephole, N: tl.constexpr, PEEPHOLE: tl.constexpr):
    i = z[0]
    if PEEPHOLE:
        for k in tl.static_range(N):
            i += peephole[k] * c_prev[k]
    i = sigmoid(i)
    g = tanh(z[N + 1])
    c = i * g
    gates = (i,)
    for k in tl.static_range(N):
        f = z[1 + k]
        if PEEPHOLE:
            f += peephole[N + k] * c_prev[k]
        f = sigmoid(f)
        c += f * c_prev[k]
        gates = gates + (f,)
    return gates + (g,), c


@triton.jit
def _forward_mixed(z, c_prev, N: tl.constexpr):
    i, f, g = sigmoid(z[0]), sigmoid(z[1]), tanh(z[N + 1])
    gates = (i, f)
    top = tl.zeros_like(i)
    for k in tl.static_range(N - 1):
        top = tl.maximum(top, z[2 + k])
    last = tl.exp(-top)
    total = last
    for k in tl.static_range(N - 1):
        total += tl.exp(z[2 + k] - top)
    mixed = c_prev[N - 1] * (last / total)
    for k in tl.static_range(N - 1):
        w = tl.exp(z[2 + k] - top) / total
        mixed += w * c_prev[k]
        gates = gates + (w,)
    return gates + (g,), i * g + f * mixed


@triton.jit
def backward_cell(dh, dc, gates, c_prev, c, h, peephole, CELL: tl.constexpr, N: tl.constexpr, PEEPHOLE: tl.constexpr):
    """Return the gradients of the pre-activations and the whole gradient of c."""
    i, g, o = gates[0], gates[N + 1], gates[N + 2]
    if CELL == "spatial":
        du = dh * (1.0 - h * h)  # u = o * c, h = tanh(u)
        dz_o = du * c * o * (1.0 - o)
        dc += du * o
    else:
        t = tanh(c)
        dz_o = dh * t * o * (1.0 - o)
        dc += dh * o * (1.0 - t * t)
    if PEEPHOLE:
        dc += dz_o * peephole[2 * N]
    dz = (dc * g * i * (1.0 - i),)
    if CELL == "stable":
        dz += _backward_mixed(dc, gates, c_prev, N)
    else:
        for k in tl.static_range(N):
            f = gates[1 + k]
            dz = dz + (dc * c_prev[k] * f * (1.0 - f),)
    return dz + (dc * i * (1.0 - g * g), dz_o), dc


@triton.jit
def _backward_mixed(dc, gates, c_prev, N: tl.constexpr):
    """Gradients of f and of the logits of the first n - 1 weights."""
    f = gates[1]
    last = tl.zeros_like(f) + 1.0
    mixed = tl.zeros_like(f)
    for k in tl.static_range(N - 1):
        last -= gates[2 + k]
        mixed += gates[2 + k] * c_prev[k]
    mixed += last * c_prev[N - 1]
    dz = (dc * mixed * f * (1.0 - f),)
    for k in tl.static_range(N - 1):
        dz = dz + (dc * f * gates[2 + k] * (c_prev[k] - mixed),)
    return dz


@triton.jit
def handed_back(
    dc, dz_i, dz_f, gates, mask, peephole, K: tl.constexpr, CELL: tl.constexpr, N: tl.constexpr, H: tl.constexpr,
    PEEPHOLE: tl.constexpr,
):  # fmt: skip
    """What flows from a site with whole gradient ``dc`` to its predecessor's c along axis K; ``gates`` points at its first block."""
    if CELL == "stable":
        keep = tl.load(gates + H, mask=mask, other=0.0).to(tl.float32)
        if K < N - 1:
            keep *= tl.load(gates + (2 + K) * H, mask=mask, other=0.0).to(tl.float32)
        elif N > 1:
            last = tl.zeros_like(keep) + 1.0
            for k in tl.static_range(N - 1):
                last -= tl.load(gates + (2 + k) * H, mask=mask, other=0.0).to(tl.float32)
            keep *= last
    else:
        keep = tl.load(gates + (1 + K) * H, mask=mask, other=0.0).to(tl.float32)
    handed = dc * keep
    if PEEPHOLE:
        handed += peephole[K] * dz_i + peephole[N + K] * dz_f
    return handed
