"""Making plans, and keeping the most recent ones."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spatial_lstm.engine.geometry.plan import Plan, ordinary_tensors

Array = npt.NDArray[np.int64]

# How many plans are kept, and sites of all of them together. Judgments: programs come back to a few dozen sizes, and index tables take
# 38 .. 209 bytes a site as measured on images (with what `Plan` derives as it is asked), which bounds them at some gigabytes.
_CACHE_PLANS = 64
_CACHE_SITES = 1 << 24
# Triton's row numbers, and what 32-bit offsets within one table of rows can tell apart.
_MAX_ROWS = 2**31 - 1


def face_positions(batch: int, extents: Sequence[int]) -> list[int]:
    """Where each axis' face starts when faces ``(N, *S without k)`` are flattened one after the other; the last entry is the total."""
    starts = [0]
    for axis in range(len(extents)):
        starts.append(starts[-1] + batch * math.prod(extents[:axis]) * math.prod(extents[axis + 1 :]))
    return starts


def make_plan(
    batch: int,
    extents: Sequence[int],
    directions: Sequence[str],
    sizes: Sequence[Sequence[int]] | None = None,
    device: torch.device | str = "cpu",
) -> Plan:
    """Return the plan of a batch of grids, from a bounded cache where it was made before.

    Args:
        batch: N, at least 1.
        extents: The n spatial extents of the (padded) batch.
        directions: D strings of ``f`` and ``r``, one letter per axis.
        sizes: Each image's own n extents; None when all fill the batch.
        device: Where the index tables are put.

    Raises:
        ValueError: If a size is out of range, or the batch has too many sites to be indexed.
    """
    shape = (int(batch), *map(int, extents))
    key = (shape, tuple(directions), None if sizes is None else tuple(map(tuple, sizes)), str(device))
    # While a program is traced, new tensors are not plain ones: they must not outlive the trace, nor plain ones enter it.
    tracing = type(torch.empty(0)) is not Tensor
    plan = None if tracing else _cache.get(key)
    if plan is None:
        with ordinary_tensors():
            plan = _build(shape[0], shape[1:], tuple(directions), sizes, torch.device(device))
        if not tracing:
            _cache.put(key, plan)
    if plan.site.is_cuda and torch.cuda.is_current_stream_capturing():
        _captured.add(plan)
    return plan


class _PlanCache:
    """The most recently used plans, bounded in number and in total sites."""

    def __init__(self) -> None:
        self._plans: OrderedDict[object, Plan] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: object) -> Plan | None:
        with self._lock:
            plan = self._plans.get(key)
            if plan is not None:
                self._plans.move_to_end(key)
            return plan

    def put(self, key: object, plan: Plan) -> None:
        with self._lock:
            self._plans[key] = plan
            while len(self._plans) > 1 and (
                len(self._plans) > _CACHE_PLANS
                or sum(kept.site.numel() for kept in self._plans.values()) > _CACHE_SITES
            ):
                self._plans.popitem(last=False)


_cache = _PlanCache()
_captured: set[Plan] = set()  # a CUDA graph reads their tables for as long as it lives, which nothing tells


def _build(
    batch: int,
    extents: tuple[int, ...],
    directions: tuple[str, ...],
    sizes: Sequence[Sequence[int]] | None,
    device: torch.device,
) -> Plan:
    raster_rows = batch * math.prod(extents)
    if raster_rows > _MAX_ROWS:
        raise ValueError(f"expected at most {_MAX_ROWS} sites in a batch, got {raster_rows}")
    axes = len(extents)
    own = np.array(sizes if sizes is not None else [extents] * batch, dtype=np.int64).reshape(batch, axes)
    if (own < 1).any() or (own > np.array(extents)).any():
        raise ValueError(f"expected sizes from 1 to the batch's extents {extents}, got {own.tolist()}")
    image, q, offsets = _order(own)
    pred, succ, edge, edge_offsets = _neighbors(image, q, own, offsets)
    far_rows = [np.flatnonzero(q[:, k] == own[image, k] - 1) for k in range(axes)]
    far_axis = np.repeat(np.arange(axes), [len(rows) for rows in far_rows])
    far = np.concatenate(far_rows)
    succ[far, far_axis] = -1 - np.arange(len(far))

    strides = np.array([math.prod(extents[k + 1 :]) for k in range(axes)], dtype=np.int64)
    starts = np.array(face_positions(batch, extents), dtype=np.int64)
    site, near, far_slot = [], [], []
    for direction in directions:
        p = q.copy()
        for k in (k for k, letter in enumerate(direction) if letter == "r"):
            p[:, k] = own[image, k] - 1 - q[:, k]
        site.append(image * math.prod(extents) + p @ strides)
        near.append(_face_slots(image, p, edge // axes, edge % axes, extents, starts))
        far_slot.append(_face_slots(image, p, far, far_axis, extents, starts))

    def put(table: npt.NDArray[Any] | list[npt.NDArray[Any]]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(np.stack(table) if isinstance(table, list) else table)).to(device)

    return Plan(
        offsets=tuple(offsets.tolist()),
        edge_offsets=tuple(edge_offsets.tolist()),
        site=put(site),
        pred=put(pred),
        succ=put(succ),
        edge=put(edge),
        near=put(near),
        far=put(far),
        far_slot=put(far_slot),
        far_counts=tuple(len(rows) for rows in far_rows),
        raster_rows=raster_rows,
        face_rows=int(starts[-1]),
    )


def _order(own: Array) -> tuple[Array, Array, Array]:
    """Sort all sites of images of sizes ``own`` ``(N, n)``; return image ``(M,)``, q ``(M, n)`` and step offsets ``(S + 1,)``."""
    distinct, kind = np.unique(own, axis=0, return_inverse=True)
    grids = [np.indices(size).reshape(len(size), -1).T for size in distinct]  # raster order, (sites, n)
    counts = np.array([len(grid) for grid in grids], dtype=np.int64)[kind.reshape(-1)]
    image = np.repeat(np.arange(len(own)), counts)
    q = np.concatenate([grids[k] for k in kind.reshape(-1)])
    step = sum(q.T)  # column by column, many times as fast as over short rows
    steps = int(step.max()) + 1
    short = step.astype(np.uint16) if steps < 1 << 16 else step  # 16 bits are sorted by radix
    order = np.argsort(short, kind="stable")
    return image[order], q[order], np.searchsorted(step[order], np.arange(steps + 1))


def _neighbors(image: Array, q: Array, own: Array, offsets: Array) -> tuple[Array, Array, Array, Array]:
    """Predecessors and successors ``(M, n)`` (any beyond the far faces), near-face entries ``(E,)`` and their offsets per step."""
    sites, axes = q.shape
    sizes = own[image]
    strides = np.ones_like(sizes)
    strides[:, :-1] = np.cumprod(sizes[:, :0:-1], axis=1)[:, ::-1]
    first = np.concatenate([[0], np.cumsum(own.prod(axis=1))])[image]
    raster = first + sum((q * strides).T)  # dense raster number, image by image
    packed = np.empty(sites, dtype=np.int64)
    packed[raster] = np.arange(sites)

    on_near, on_far = q == 0, q == sizes - 1
    pred, succ = np.empty_like(q), np.empty_like(q)
    for k in range(axes):
        pred[:, k] = packed[np.where(on_near[:, k], raster, raster - strides[:, k])]
        succ[:, k] = packed[np.where(on_far[:, k], raster, raster + strides[:, k])]
    edge = np.flatnonzero(on_near)
    pred.reshape(-1)[edge] = sites + np.arange(len(edge))
    return pred, succ, edge, np.searchsorted(edge, offsets * axes)


def _face_slots(image: Array, p: Array, rows: Array, axis: Array, extents: tuple[int, ...], starts: Array) -> Array:
    """Position of some sites' projections, each along its own axis, in the flattened faces."""
    slots = np.empty_like(rows)
    for k in range(len(extents)):
        chosen = axis == k
        at = rows[chosen]
        slot = image[at]
        for j in (j for j in range(len(extents)) if j != k):
            slot = slot * extents[j] + p[at, j]
        slots[chosen] = starts[k] + slot
    return slots
