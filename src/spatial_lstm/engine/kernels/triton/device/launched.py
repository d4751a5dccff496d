# mypy: ignore-errors
"""The kernels that are launched: one step on a grid of tiles, or all steps of a few images in one program.

Programs are numbered ``(rows or images, features, directions)``. In the persistent kernels a program waits for nobody but itself: the
barrier after each step is among its own threads, and makes what they wrote visible to one another.
"""

import triton
import triton.language as tl

from spatial_lstm.engine.kernels.triton.device.tiles import backward_tile, fetch, forward_tile, hold

RUNTIME = ["sites", "table_rows", "first", "last", "after", "after_rows", "images", "steps"]


@triton.jit(do_not_specialize=RUNTIME)
def forward_step(
    z, folded, h, c, ahead, pred, succ, weight, weight_ch, peephole, sites, table_rows, first, last,
    CELL: tl.constexpr, N: tl.constexpr, B: tl.constexpr, H: tl.constexpr, SAVE: tl.constexpr, PRODUCT: tl.constexpr,
    PRECISION: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Rows ``first`` to ``last`` of every direction."""
    direction = tl.program_id(2).to(tl.int64)
    rows = (first + tl.program_id(0) * BM + tl.arange(0, BM)).to(tl.int64)
    cols = tl.program_id(1) * BH + tl.arange(0, BH)
    present = rows < last
    z += direction * sites * (B * H)
    if folded is not None:
        folded += direction * sites * (B * H)
    h += direction * table_rows * H
    c += direction * table_rows * H
    if ahead is not None:
        ahead += direction * sites * (N * H)
    weight += direction * (B * N * H * H)
    if weight_ch is not None:
        weight_ch += direction * (B * N * H * H)
    if peephole is not None:
        peephole += direction * ((2 * N + 1) * H)
    gates, before = fetch(z, pred, rows, present, cols, N, B, H)
    forward_tile(
        gates, before, z, folded, h, c, ahead, succ, weight, (), weight_ch, peephole, rows, present, cols,
        CELL, N, B, H, SAVE, PRODUCT, PRECISION, BK,
    )  # fmt: skip


@triton.jit(do_not_specialize=RUNTIME)
def backward_step(
    dz, gates, h, c, dh, dc, total, dc0, back, back_ch, pred, succ, weight, weight_ch, peephole,
    sites, table_rows, first, last, after, after_rows,
    CELL: tl.constexpr, N: tl.constexpr, B: tl.constexpr, H: tl.constexpr, FACES: tl.constexpr, PRODUCT: tl.constexpr,
    PRECISION: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Rows ``first`` to ``last`` of every direction; the step after begins at row ``after`` and has ``after_rows`` rows."""
    direction = tl.program_id(2).to(tl.int64)
    rows = (first + tl.program_id(0) * BM + tl.arange(0, BM)).to(tl.int64)
    cols = tl.program_id(1) * BH + tl.arange(0, BH)
    dz += direction * sites * (B * H)
    gates += direction * sites * (B * H)
    h += direction * table_rows * H
    c += direction * table_rows * H
    dh += direction * sites * H
    if dc is not None:
        dc += direction * sites * H
    total += direction * sites * H
    dc0 += direction * (table_rows - sites) * H
    if back is not None:
        back += direction * after_rows * (N * H)
    if back_ch is not None:
        back_ch += direction * after_rows * (N * H)
    weight += direction * (B * N * H * H)
    if weight_ch is not None:
        weight_ch += direction * (B * N * H * H)
    if peephole is not None:
        peephole += direction * ((2 * N + 1) * H)
    backward_tile(
        dz, gates, h, c, dh, dc, total, dc0, back, back_ch, pred, succ, weight, (), weight_ch, peephole,
        rows, rows < last, cols, sites, after, CELL, N, B, H, FACES, PRODUCT, PRECISION, BK,
    )  # fmt: skip


@triton.jit(do_not_specialize=RUNTIME)
def forward_images(
    z, folded, h, c, pred, bounds, weight, weight_ch, peephole, sites, table_rows, images, steps,
    CELL: tl.constexpr, N: tl.constexpr, B: tl.constexpr, H: tl.constexpr, SAVE: tl.constexpr, PRECISION: tl.constexpr,
    GROUP: tl.constexpr, HELD: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """All steps of GROUP images of one direction; ``bounds[s * images + i]`` is the first row of image i in step s.

    With HELD the recurrent weights are read once and kept in shared memory; a tile then is as wide as they are, on either side. Each
    tile's z and predecessors are fetched while the tile before it is computed.
    """
    direction = tl.program_id(2).to(tl.int64)
    z += direction * sites * (B * H)
    if folded is not None:
        folded += direction * sites * (B * H)
    h += direction * table_rows * H
    c += direction * table_rows * H
    weight += direction * (B * N * H * H)
    if weight_ch is not None:
        weight_ch += direction * (B * N * H * H)
    if peephole is not None:
        peephole += direction * ((2 * N + 1) * H)
    cols = tl.arange(0, BH)
    lower = bounds + tl.program_id(0) * GROUP
    upper = bounds + tl.minimum(tl.program_id(0) * GROUP + GROUP, images)
    held = hold(weight, cols, N, B, H, True) if HELD else ()
    step = 0
    row, last = tl.load(lower), tl.load(upper)
    rows = row + tl.arange(0, BM)
    present = rows < last
    gates, before = fetch(z, pred, rows, present, cols, N, B, H)
    while step < steps:
        row += BM
        if row >= last:
            step += 1
            row = tl.load(lower + step * images, mask=step < steps, other=0)
            last = tl.load(upper + step * images, mask=step < steps, other=0)
        next_rows = row + tl.arange(0, BM)
        next_present = next_rows < last
        next_gates, next_before = fetch(z, pred, next_rows, next_present, cols, N, B, H)
        forward_tile(
            gates, before, z, folded, h, c, None, None, weight, held, weight_ch, peephole, rows, present, cols,
            CELL, N, B, H, SAVE, True, PRECISION, BK,
        )  # fmt: skip
        tl.debug_barrier()
        rows, present, gates, before = next_rows, next_present, next_gates, next_before


@triton.jit(do_not_specialize=RUNTIME)
def backward_images(
    dz, gates, h, c, dh, dc, total, dc0, pred, succ, bounds, weight, weight_ch, peephole,
    sites, table_rows, images, steps,
    CELL: tl.constexpr, N: tl.constexpr, B: tl.constexpr, H: tl.constexpr, FACES: tl.constexpr, PRECISION: tl.constexpr,
    GROUP: tl.constexpr, HELD: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """All steps of GROUP images of one direction, last to first, with HELD as the forward."""
    direction = tl.program_id(2).to(tl.int64)
    dz += direction * sites * (B * H)
    gates += direction * sites * (B * H)
    h += direction * table_rows * H
    c += direction * table_rows * H
    dh += direction * sites * H
    if dc is not None:
        dc += direction * sites * H
    total += direction * sites * H
    dc0 += direction * (table_rows - sites) * H
    weight += direction * (B * N * H * H)
    if weight_ch is not None:
        weight_ch += direction * (B * N * H * H)
    if peephole is not None:
        peephole += direction * ((2 * N + 1) * H)
    cols = tl.arange(0, BH)
    lower = bounds + tl.program_id(0) * GROUP
    upper = bounds + tl.minimum(tl.program_id(0) * GROUP + GROUP, images)
    held = hold(weight, cols, N, B, H, False) if HELD else ()
    step = steps
    while step > 0:
        step -= 1
        row, last = tl.load(lower + step * images), tl.load(upper + step * images)
        while row < last:
            rows = row + tl.arange(0, BM)
            backward_tile(
                dz, gates, h, c, dh, dc, total, dc0, None, None, pred, succ, weight, held, weight_ch, peephole,
                rows, rows < last, cols, sites, 0, CELL, N, B, H, FACES, True, PRECISION, BK,
            )  # fmt: skip
            row += BM
        tl.debug_barrier()
