# mypy: ignore-errors
"""The cells' equations on tiles ``(rows, features)`` in float32: one tuple entry per gate block or axis.

A cell is three functions, in the letters of :mod:`spatial_lstm.engine.cells`, and one branch in each of the three that choose among them:

- ``_<cell>_forward``: the activated gates, c and h, from the gates' pre-activations z and the predecessors' c.
- ``_<cell>_backward``: the gradients of z and the whole gradient of c, from the gradients of h and c.
- ``_<cell>_handed_back``: what flows from a site's c to its predecessor's c along axis K.

N axes, B gate blocks. ``peephole`` is a tuple of 2 N + 1 tiles ``(1, features)``, or an empty one. What a cell does not use of its
arguments the compiler drops, loads included. An unknown cell does not compile.
"""

import triton
import triton.language as tl

from spatial_lstm.engine.kernels.triton.device.activations import sigmoid, tanh
from spatial_lstm.engine.kernels.triton.device.gates import load_gate


@triton.jit
def forward_cell(z, c_prev, peephole, CELL: tl.constexpr, N: tl.constexpr, B: tl.constexpr, PEEPHOLE: tl.constexpr):
    """Return the activated gates, c and h."""
    if CELL == "spatial":
        gates, c, h = _spatial_forward(z, c_prev, N, B)
    elif CELL == "graves":
        gates, c, h = _graves_forward(z, c_prev, peephole, N, B, PEEPHOLE)
    elif CELL == "stable":
        gates, c, h = _stable_forward(z, c_prev, N, B)
    elif CELL == "diagonal":
        gates, c, h = _diagonal_forward(z, c_prev, N, B)
    else:
        tl.static_assert(False, "expected a cell with a forward in device/cells.py")
    return gates, c, h


@triton.jit
def backward_cell(
    dh, dc, gates, c_prev, c, h, peephole,
    CELL: tl.constexpr, N: tl.constexpr, B: tl.constexpr, PEEPHOLE: tl.constexpr,
):  # fmt: skip
    """Return the gradients of the pre-activations and the whole gradient of c."""
    if CELL == "spatial":
        dz, dc = _spatial_backward(dh, dc, gates, c_prev, c, h, N, B)
    elif CELL == "graves":
        dz, dc = _graves_backward(dh, dc, gates, c_prev, c, peephole, N, B, PEEPHOLE)
    elif CELL == "stable":
        dz, dc = _stable_backward(dh, dc, gates, c_prev, c, N, B)
    elif CELL == "diagonal":
        dz, dc = _diagonal_backward(dh, dc, gates, c_prev, c, N, B)
    else:
        tl.static_assert(False, "expected a cell with a backward in device/cells.py")
    return dz, dc


@triton.jit
def handed_back(
    dc, dz_seen, gates, mask, peephole, K: tl.constexpr, CELL: tl.constexpr, N: tl.constexpr, H: tl.constexpr,
    PEEPHOLE: tl.constexpr, FOLDED: tl.constexpr,
):  # fmt: skip
    """What flows from a site with whole gradient ``dc`` to its predecessor's c along axis K.

    ``gates`` points at the site's first block. ``dz_seen`` has the gradients of the pre-activations that see this c through a peephole,
    those of i and f_K; it is empty without peepholes.
    """
    if CELL == "spatial":
        handed = _spatial_handed_back(dc, gates, mask, K, H, FOLDED)
    elif CELL == "graves":
        handed = _graves_handed_back(dc, dz_seen, gates, mask, peephole, K, N, H, PEEPHOLE, FOLDED)
    elif CELL == "stable":
        handed = _stable_handed_back(dc, gates, mask, K, N, H, FOLDED)
    elif CELL == "diagonal":
        handed = _diagonal_handed_back(dc, gates, mask, K, N, H, FOLDED)
    else:
        tl.static_assert(False, "expected a cell with a handed_back in device/cells.py")
    return handed


# spatial: i, f_0 .. f_{n-1}, g, o


@triton.jit
def _spatial_forward(z, c_prev, N: tl.constexpr, B: tl.constexpr):
    gates, c = _sum_gated(z, c_prev, N, B)
    o = sigmoid(z[B - 1])
    return gates + (o,), c, tanh(o * c)


@triton.jit
def _spatial_backward(dh, dc, gates, c_prev, c, h, N: tl.constexpr, B: tl.constexpr):
    o = gates[B - 1]
    # u = o * c, h = tanh(u)
    du = dh * (1.0 - h * h)
    dz_o = du * c * o * (1.0 - o)
    dc += du * o
    return _sum_gated_backward(dc, gates, c_prev, N, B) + (dz_o,), dc


@triton.jit
def _spatial_handed_back(dc, gates, mask, K: tl.constexpr, H: tl.constexpr, FOLDED: tl.constexpr):
    return dc * load_gate(gates, 1 + K, mask, H, FOLDED)


# graves: the same blocks, and peepholes


@triton.jit
def _graves_forward(z, c_prev, peephole, N: tl.constexpr, B: tl.constexpr, PEEPHOLE: tl.constexpr):
    if PEEPHOLE:
        z = _see_predecessors(z, c_prev, peephole, N, B)
    gates, c = _sum_gated(z, c_prev, N, B)
    o = z[B - 1]
    if PEEPHOLE:
        o += peephole[2 * N] * c
    o = sigmoid(o)
    return gates + (o,), c, o * tanh(c)


@triton.jit
def _see_predecessors(z, c_prev, peephole, N: tl.constexpr, B: tl.constexpr):
    """The pre-activations z with what i and each f_k see of the predecessors' c."""
    i = z[0]
    for k in tl.static_range(N):
        i += peephole[k] * c_prev[k]
    seeing = (i,)
    for k in tl.static_range(N):
        seeing = seeing + (z[1 + k] + peephole[N + k] * c_prev[k],)
    return seeing + (z[B - 2], z[B - 1])


@triton.jit
def _graves_backward(
    dh, dc, gates, c_prev, c, peephole, N: tl.constexpr, B: tl.constexpr, PEEPHOLE: tl.constexpr
):  # fmt: skip
    dz_o, dc = _output_backward(dh, dc, gates[B - 1], c)
    if PEEPHOLE:
        dc += dz_o * peephole[2 * N]
    return _sum_gated_backward(dc, gates, c_prev, N, B) + (dz_o,), dc


@triton.jit
def _graves_handed_back(
    dc, dz_seen, gates, mask, peephole, K: tl.constexpr, N: tl.constexpr, H: tl.constexpr, PEEPHOLE: tl.constexpr,
    FOLDED: tl.constexpr,
):  # fmt: skip
    handed = dc * load_gate(gates, 1 + K, mask, H, FOLDED)
    if PEEPHOLE:
        handed += peephole[K] * dz_seen[0] + peephole[N + K] * dz_seen[1]
    return handed


# stable: i, f, l_0 .. l_{n-2}, g, o; of the weights the first n - 1 are kept, the last is one minus their sum


@triton.jit
def _stable_forward(z, c_prev, N: tl.constexpr, B: tl.constexpr):
    i, f, g, o = sigmoid(z[0]), sigmoid(z[1]), tanh(z[B - 2]), sigmoid(z[B - 1])
    gates = (i, f)
    # the largest logit; the last one is zero
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
    c = i * g + f * mixed
    return gates + (g, o), c, o * tanh(c)


@triton.jit
def _stable_backward(dh, dc, gates, c_prev, c, N: tl.constexpr, B: tl.constexpr):
    i, f, g = gates[0], gates[1], gates[B - 2]
    dz_o, dc = _output_backward(dh, dc, gates[B - 1], c)
    last = tl.zeros_like(f) + 1.0
    mixed = tl.zeros_like(f)
    for k in tl.static_range(N - 1):
        last -= gates[2 + k]
        mixed += gates[2 + k] * c_prev[k]
    mixed += last * c_prev[N - 1]
    dz = (dc * g * i * (1.0 - i), dc * mixed * f * (1.0 - f))
    for k in tl.static_range(N - 1):
        dz = dz + (dc * f * gates[2 + k] * (c_prev[k] - mixed),)
    return dz + (dc * i * (1.0 - g * g), dz_o), dc


@triton.jit
def _stable_handed_back(dc, gates, mask, K: tl.constexpr, N: tl.constexpr, H: tl.constexpr, FOLDED: tl.constexpr):
    keep = load_gate(gates, 1, mask, H, FOLDED)
    if K < N - 1:
        keep *= load_gate(gates, 2 + K, mask, H, FOLDED)
    elif N > 1:
        last = tl.zeros_like(keep) + 1.0
        for k in tl.static_range(N - 1):
            last -= load_gate(gates, 2 + k, mask, H, FOLDED)
        keep *= last
    return dc * keep


# diagonal: i, f, g, o; c flows along the last axis alone


@triton.jit
def _diagonal_forward(z, c_prev, N: tl.constexpr, B: tl.constexpr):
    i, f, g, o = sigmoid(z[0]), sigmoid(z[1]), tanh(z[B - 2]), sigmoid(z[B - 1])
    c = i * g + f * c_prev[N - 1]
    return (i, f, g, o), c, o * tanh(c)


@triton.jit
def _diagonal_backward(dh, dc, gates, c_prev, c, N: tl.constexpr, B: tl.constexpr):
    i, f, g = gates[0], gates[1], gates[B - 2]
    dz_o, dc = _output_backward(dh, dc, gates[B - 1], c)
    dz_f = dc * c_prev[N - 1] * f * (1.0 - f)
    return (dc * g * i * (1.0 - i), dz_f, dc * i * (1.0 - g * g), dz_o), dc


@triton.jit
def _diagonal_handed_back(dc, gates, mask, K: tl.constexpr, N: tl.constexpr, H: tl.constexpr, FOLDED: tl.constexpr):
    return tl.zeros_like(dc) if K < N - 1 else dc * load_gate(gates, 1, mask, H, FOLDED)


# what cells share


@triton.jit
def _sum_gated(z, c_prev, N: tl.constexpr, B: tl.constexpr):
    """``c = s(i) tanh(g) + sum_k s(f_k) c_k``, and the activated gates i, f_0 .. f_{n-1}, g."""
    i, g = sigmoid(z[0]), tanh(z[B - 2])
    c = i * g
    gates = (i,)
    for k in tl.static_range(N):
        f = sigmoid(z[1 + k])
        c += f * c_prev[k]
        gates = gates + (f,)
    return gates + (g,), c


@triton.jit
def _sum_gated_backward(dc, gates, c_prev, N: tl.constexpr, B: tl.constexpr):
    """The gradients of i, f_0 .. f_{n-1} and g from the whole gradient of c."""
    i, g = gates[0], gates[B - 2]
    dz = (dc * g * i * (1.0 - i),)
    for k in tl.static_range(N):
        f = gates[1 + k]
        dz = dz + (dc * c_prev[k] * f * (1.0 - f),)
    return dz + (dc * i * (1.0 - g * g),)


@triton.jit
def _output_backward(dh, dc, o, c):
    """Through ``h = o tanh(c)``: the gradient of o's pre-activation, and dc with what comes from h."""
    t = tanh(c)
    return dh * t * o * (1.0 - o), dc + dh * o * (1.0 - t * t)
