# mypy: ignore-errors
"""One tile, some rows of a step times some features, of one direction: all that a step does there, forward and backward.

N axes, B gate blocks, H features. Pointers are those of the direction: state tables ``(M + E, H)``, gates and dz ``(M, B H)``, weights
``(B H, N H)``, peepholes ``(2 N + 1, H)``; absent ones are None. With PRODUCT the tile multiplies by the recurrent weights itself.
"""

import triton
import triton.language as tl

from spatial_lstm.engine.kernels.triton.device.cells import backward_cell, forward_cell, handed_back
from spatial_lstm.engine.kernels.triton.device.gates import fold, load_gate


@triton.jit
def fetch(z, pred, rows, present, cols, N: tl.constexpr, B: tl.constexpr, H: tl.constexpr):
    """What a forward tile reads that no other step writes: z of every gate, and the predecessor on every axis."""
    mask = present[:, None] & (cols < H)[None, :]
    block = z + rows[:, None] * (B * H) + cols[None, :]
    gates = ()
    for b in tl.static_range(B):
        gates = gates + (tl.load(block + b * H, mask=mask, other=0.0).to(tl.float32),)
    before = ()
    for k in tl.static_range(N):
        before = before + (tl.load(pred + rows * N + k, mask=present, other=0),)
    return gates, before


@triton.jit
def forward_tile(
    acc, before, z, folded, h, c, ahead, succ, weight, held, weight_ch, peephole, rows, present, cols,
    CELL: tl.constexpr, N: tl.constexpr, B: tl.constexpr, H: tl.constexpr, SAVE: tl.constexpr, PRODUCT: tl.constexpr,
    PRECISION: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Fill h and c at ``rows`` where ``present``, and with SAVE overwrite z there by the activated gates, or fill ``folded`` with them.

    ``acc`` and ``before`` come from :func:`fetch`, ``held`` is empty or what :func:`hold` made of the weight. ``ahead`` ``(M N, H)``, if
    there is one, gets h where the successors ``succ`` will look for their predecessors', side by side.
    """
    PEEPHOLE: tl.constexpr = peephole is not None
    mask = present[:, None] & (cols < H)[None, :]
    c_prev = ()
    for k in tl.static_range(N):
        c_prev = c_prev + (tl.load(c + before[k][:, None] * H + cols[None, :], mask=mask, other=0.0),)
    if len(held) > 0:
        acc = _add_held(acc, before, h, present, held, cols, N, B, H, PRECISION)
    if PRODUCT:
        for k in tl.static_range(N):
            p = before[k]
            if len(held) == 0:
                acc = _add_gates(acc, h + p * H, present, weight + k * H, cols, N, B, H, PRECISION, BK)
            if weight_ch is not None:
                acc = _add_gates(acc, c + p * H, present, weight_ch + k * H, cols, N, B, H, PRECISION, BK)
    gates, c_new, h_new = forward_cell(acc, c_prev, _peepholes(peephole, cols, N, H), CELL, N, B, PEEPHOLE)
    state = rows[:, None] * H + cols[None, :]
    tl.store(c + state, c_new, mask=mask)
    tl.store(h + state, h_new.to(h.dtype.element_ty), mask=mask)
    if ahead is not None:
        for k in tl.static_range(N):
            q = tl.load(succ + rows * N + k, mask=present, other=-1)
            slot = (q * N + k)[:, None] * H + cols[None, :]
            tl.store(ahead + slot, h_new.to(ahead.dtype.element_ty), mask=mask & (q >= 0)[:, None])
    at = rows[:, None] * (B * H) + cols[None, :]
    if folded is not None:
        for b in tl.static_range(B):
            tl.store(folded + at + b * H, fold(gates[b]).to(folded.dtype.element_ty), mask=mask)
    elif SAVE:
        block = z + at
        for b in tl.static_range(B):
            tl.store(block + b * H, gates[b].to(z.dtype.element_ty), mask=mask)


@triton.jit
def hold(weight, cols, N: tl.constexpr, B: tl.constexpr, H: tl.constexpr, TRANSPOSED: tl.constexpr):
    """All of a weight, the block of every axis and gate in a tile, axes first, gates next."""
    gates, states = (cols[None, :], cols[:, None]) if TRANSPOSED else (cols[:, None], cols[None, :])
    tiles = ()
    for k in tl.static_range(N):
        for b in tl.static_range(B):
            block = weight + (b * H + gates) * (N * H) + k * H + states
            tiles = tiles + (tl.load(block, mask=(gates < H) & (states < H), other=0.0),)
    return tiles


@triton.jit
def _add_held(
    acc, before, h, present, held, cols, N: tl.constexpr, B: tl.constexpr, H: tl.constexpr, PRECISION: tl.constexpr
):  # fmt: skip
    """Add to every gate's tile the products of the predecessors' h with the tiles that are held."""
    mask = present[:, None] & (cols < H)[None, :]
    states = ()
    for k in tl.static_range(N):
        states = states + (tl.load(h + before[k][:, None] * H + cols[None, :], mask=mask, other=0.0),)
    for k in tl.static_range(N):
        added = ()
        for b in tl.static_range(B):
            added = added + (tl.dot(states[k], held[k * B + b], acc[b], input_precision=PRECISION),)
        acc = added
    return acc


@triton.jit
def _add_gates(
    acc,
    state,
    present,
    weight,
    cols,
    N: tl.constexpr,
    B: tl.constexpr,
    H: tl.constexpr,
    PRECISION: tl.constexpr,
    BK: tl.constexpr,
):
    """Add to every gate's tile the product of the states at ``state`` with its block of the weight."""
    for start in tl.range(0, H, BK):
        inner = start + tl.arange(0, BK)
        x = tl.load(state[:, None] + inner[None, :], mask=present[:, None] & (inner < H)[None, :], other=0.0)
        x = x.to(weight.dtype.element_ty)
        added = ()
        for b in tl.static_range(B):
            y = tl.load(
                weight + (b * H + cols)[None, :] * (N * H) + inner[:, None],
                mask=(inner < H)[:, None] & (cols < H)[None, :],
                other=0.0,
            )
            added = added + (tl.dot(x, y, acc[b], input_precision=PRECISION),)
        acc = added
    return acc


@triton.jit
def backward_tile(
    dz, gates, h, c, dh, dc, total, dc0, back, back_ch, pred, succ, weight, held, weight_ch, peephole,
    rows, present, cols, sites, after,
    CELL: tl.constexpr, N: tl.constexpr, B: tl.constexpr, H: tl.constexpr, FACES: tl.constexpr, PRODUCT: tl.constexpr,
    PRECISION: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Fill dz and ``total``, the whole gradient of c, at ``rows``, and with FACES dc0 of the near-face entries that they read.

    ``held`` is empty or what :func:`hold` made of the weight. Without PRODUCT, ``back`` and ``back_ch`` ``(rows N, H)`` have what the
    step that begins at row ``after`` sends back.
    """
    PEEPHOLE: tl.constexpr = peephole is not None
    FOLDED: tl.constexpr = gates.dtype.element_ty != dz.dtype.element_ty
    mask = present[:, None] & (cols < H)[None, :]
    state = rows[:, None] * H + cols[None, :]
    before, after_rows = (), ()
    for k in tl.static_range(N):
        before = before + (tl.load(pred + rows * N + k, mask=present, other=0)[:, None],)
        after_rows = after_rows + (tl.load(succ + rows * N + k, mask=present, other=-1),)
    peep = _peepholes(peephole, cols, N, H)
    grad_h = tl.load(dh + state, mask=mask, other=0.0).to(tl.float32)
    grad_c = tl.zeros_like(grad_h) if dc is None else tl.load(dc + state, mask=mask, other=0.0)
    block = rows[:, None] * (B * H) + cols[None, :]
    active = ()
    for b in tl.static_range(B):
        active = active + (load_gate(gates + block, b, mask, H, FOLDED),)
    c_prev = ()
    for k in tl.static_range(N):
        c_prev = c_prev + (tl.load(c + before[k] * H + cols[None, :], mask=mask, other=0.0),)
    own_c = tl.load(c + state, mask=mask, other=0.0)
    own_h = tl.load(h + state, mask=mask, other=0.0).to(tl.float32)
    if len(held) > 0:
        sent = ()
        for k in tl.static_range(N):
            sent = sent + _sent_back(dz, after_rows[k], cols, B, H)
    for k in tl.static_range(N):
        there = after_rows[k] >= 0
        q = tl.maximum(after_rows[k], 0)
        seen = there[:, None] & (cols < H)[None, :]
        at = q[:, None] * (B * H) + cols[None, :]
        dz_seen = ()
        if PEEPHOLE:
            dz_i = tl.load(dz + at, mask=seen, other=0.0).to(tl.float32)
            dz_seen = (dz_i, tl.load(dz + at + (1 + k) * H, mask=seen, other=0.0).to(tl.float32))
        whole = tl.load(total + q[:, None] * H + cols[None, :], mask=seen, other=0.0)
        grad_c += handed_back(whole, dz_seen, gates + at, seen, peep, k, CELL, N, H, PEEPHOLE, FOLDED)
        if PRODUCT:
            if len(held) == 0:
                grad_h = _add_back(grad_h, dz + q * (B * H), there, weight + k * H, cols, N, B, H, PRECISION, BK)
            if weight_ch is not None:
                grad_c = _add_back(grad_c, dz + q * (B * H), there, weight_ch + k * H, cols, N, B, H, PRECISION, BK)
        else:
            slot = ((q - after) * N + k)[:, None] * H + cols[None, :]
            grad_h += tl.load(back + slot, mask=seen, other=0.0).to(tl.float32)
            if weight_ch is not None:
                grad_c += tl.load(back_ch + slot, mask=seen, other=0.0).to(tl.float32)
    if len(held) > 0:
        for b in tl.static_range(N * B):
            grad_h = tl.dot(sent[b], held[b], grad_h, input_precision=PRECISION)
    grads, grad_c = backward_cell(grad_h, grad_c, active, c_prev, own_c, own_h, peep, CELL, N, B, PEEPHOLE)
    tl.store(total + state, grad_c, mask=mask)
    for b in tl.static_range(B):
        tl.store(dz + block + b * H, grads[b].to(dz.dtype.element_ty), mask=mask)
    if FACES:
        for k in tl.static_range(N):
            p = before[k]
            entry = mask & (p >= sites)
            dz_seen = ()
            if PEEPHOLE:
                dz_seen = (grads[0], grads[1 + k])
            handed = handed_back(grad_c, dz_seen, gates + block, entry, peep, k, CELL, N, H, PEEPHOLE, FOLDED)
            tl.store(dc0 + (p - sites) * H + cols[None, :], handed, mask=entry)


@triton.jit
def _sent_back(dz, after_rows, cols, B: tl.constexpr, H: tl.constexpr):
    """The successors' dz of every gate, zero where there is no successor."""
    mask = (after_rows >= 0)[:, None] & (cols < H)[None, :]
    at = tl.maximum(after_rows, 0)[:, None] * (B * H) + cols[None, :]
    found = ()
    for b in tl.static_range(B):
        found = found + (tl.load(dz + at + b * H, mask=mask, other=0.0),)
    return found


@triton.jit
def _add_back(
    acc,
    dz,
    there,
    weight,
    cols,
    N: tl.constexpr,
    B: tl.constexpr,
    H: tl.constexpr,
    PRECISION: tl.constexpr,
    BK: tl.constexpr,
):
    """Add the product of the successors' dz with the weights' columns of one axis."""
    for start in tl.range(0, B * H, BK):
        inner = start + tl.arange(0, BK)
        inside = inner < B * H
        x = tl.load(dz[:, None] + inner[None, :], mask=there[:, None] & inside[None, :], other=0.0)
        y = tl.load(
            weight + inner[:, None] * (N * H) + cols[None, :], mask=inside[:, None] & (cols < H)[None, :], other=0.0
        )
        acc = tl.dot(x, y, acc, input_precision=PRECISION)
    return acc


@triton.jit
def _peepholes(peephole, cols, N: tl.constexpr, H: tl.constexpr):
    tiles = ()
    if peephole is not None:
        for row in tl.static_range(2 * N + 1):
            tile = tl.load(peephole + row * H + cols, mask=cols < H, other=0.0).to(tl.float32)
            tiles = tiles + (tile[None, :],)
    return tiles
