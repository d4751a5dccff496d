"""Making plans, and keeping the most recent ones."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spatial_lstm.engine.geometry.grid import Grid
from spatial_lstm.engine.geometry.plan import Plan, ordinary_tensors
from spatial_lstm.shared import Shared

Array = npt.NDArray[np.int64]

# How many plans are kept, and bytes of all of them together, whatever is derived of them. Judgments: programs come back to a few dozen
# sizes, and a training step reads as many bytes of tables as it writes of states of 20 features.
_CACHE_PLANS = 64
_CACHE_BYTES = 1 << 30


def make_plan(grid: Grid, device: torch.device | str = "cpu") -> Plan:
    """Return the plan of a batch of grids, from a bounded cache where it was made before; ``device`` is where its tables are put."""
    key = (*grid.key, str(device))
    # While a program is traced, new tensors are not plain ones: they must not outlive the trace, nor plain ones enter it.
    tracing = type(torch.empty(0, device="cpu")) is not Tensor
    plan = None if tracing else _cache.get(key)
    if plan is None:
        with ordinary_tensors():
            plan = _build(grid, torch.device(device))
        if not tracing:
            _cache.put(key, plan)
    if plan.site.is_cuda and torch.cuda.is_current_stream_capturing():
        _captured.add(plan)
    return plan


def clear_plans() -> None:
    """Forget all plans but those that a CUDA graph reads."""
    _cache.clear()


class _PlanCache(Shared):
    """The most recently used plans, bounded in number and in bytes; one that is larger than all that is allowed is kept alone."""

    def begin(self) -> None:
        self._plans: OrderedDict[object, Plan] = OrderedDict()

    def get(self, key: object) -> Plan | None:
        with self.lock:
            plan = self._plans.get(key)
            if plan is not None:
                self._plans.move_to_end(key)
            return plan

    def put(self, key: object, plan: Plan) -> None:
        with self.lock:
            self._plans[key] = plan
            while len(self._plans) > 1 and (
                len(self._plans) > _CACHE_PLANS or sum(kept.most_bytes for kept in self._plans.values()) > _CACHE_BYTES
            ):
                self._plans.popitem(last=False)

    def clear(self) -> None:
        with self.lock:
            self.begin()


_cache = _PlanCache()
_captured: set[Plan] = set()  # a CUDA graph reads their tables for as long as it lives, which nothing tells


def _build(grid: Grid, device: torch.device) -> Plan:
    batch, extents, axes = grid.batch, grid.extents, grid.axes
    own = np.array([extents] * batch, dtype=np.int64) if grid.own is None else grid.own
    image, q, offsets = _order(own)
    pred, succ, edge, edge_offsets = _neighbors(image, q, own, offsets)
    far_rows = [np.flatnonzero(q[:, k] == own[image, k] - 1) for k in range(axes)]
    far_axis = np.repeat(np.arange(axes), [len(rows) for rows in far_rows])
    far = np.concatenate(far_rows)
    idle_rows = [np.arange(len(image))] * len(grid.idle_starts)
    succ[far, far_axis] = -1 - np.arange(len(far))

    strides = np.array([math.prod(extents[k + 1 :]) for k in range(axes)], dtype=np.int64)
    site, near, far_slot = [], [], []
    for direction in grid.directions:
        p = q.copy()
        for k in (k for k, letter in enumerate(direction) if letter == "r"):
            p[:, k] = own[image, k] - 1 - q[:, k]
        site.append(image * math.prod(extents) + p @ strides)
        near.append(_face_slots(image, p, edge // axes, edge % axes, grid))
        slots = _face_slots(image, p, far, far_axis, grid)
        far_slot.append(np.concatenate([slots, *(start + site[-1] for start in grid.idle_starts)]))

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
        far=put(np.concatenate([far, *idle_rows])),
        far_slot=put(far_slot),
        far_counts=tuple(len(rows) for rows in (*far_rows, *idle_rows)),
        raster_rows=grid.raster_rows,
        face_rows=grid.face_rows,
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


def _face_slots(image: Array, p: Array, rows: Array, axis: Array, grid: Grid) -> Array:
    """Position of some sites' projections, each along its own axis, in the flattened faces."""
    slots, extents = np.empty_like(rows), grid.extents
    for k in range(len(extents)):
        chosen = axis == k
        at = rows[chosen]
        slot = image[at]
        for j in (j for j in range(len(extents)) if j != k):
            slot = slot * extents[j] + p[at, j]
        slots[chosen] = grid.starts[k] + slot
    return slots
