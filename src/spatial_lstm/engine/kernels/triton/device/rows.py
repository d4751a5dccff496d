# mypy: ignore-errors
"""Rows of tables, taken by an index or summed, in tiles of BM rows times BW columns of W."""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["rows", "source_rows"])
def take_rows(source, index, target, rows, source_rows, W: tl.constexpr, BM: tl.constexpr, BW: tl.constexpr):
    """``target[d, r] = source[d, index[r]]`` for every row and direction d."""
    direction = tl.program_id(2).to(tl.int64)
    row = (tl.program_id(0) * BM + tl.arange(0, BM)).to(tl.int64)
    cols = tl.program_id(1) * BW + tl.arange(0, BW)
    present = row < rows
    mask = present[:, None] & (cols < W)[None, :]
    at = tl.load(index + row, mask=present, other=0).to(tl.int64)
    found = tl.load(source + (direction * source_rows + at)[:, None] * W + cols[None, :], mask=mask, other=0.0)
    tl.store(target + (direction * rows + row)[:, None] * W + cols[None, :], found, mask=mask)


@triton.jit(do_not_specialize=["rows", "share"])
def sum_rows(source, sums, rows, share, W: tl.constexpr, BM: tl.constexpr, BW: tl.constexpr):
    """Into ``sums[d, p]``, in float32, the sum of rows ``p * share`` to ``(p + 1) * share`` of direction d."""
    direction, part = tl.program_id(2).to(tl.int64), tl.program_id(0)
    cols = tl.program_id(1) * BW + tl.arange(0, BW)
    source += direction * rows * W
    first, last = part * share, tl.minimum((part + 1) * share, rows)
    found = tl.zeros((BM, BW), tl.float32)
    for start in range(first, last, BM):
        row = (start + tl.arange(0, BM)).to(tl.int64)
        mask = (row < last)[:, None] & (cols < W)[None, :]
        found += tl.load(source + row[:, None] * W + cols[None, :], mask=mask, other=0.0).to(tl.float32)
    at = (direction * tl.num_programs(0) + part) * W + cols
    tl.store(sums + at, tl.sum(found, 0), mask=cols < W)
