"""The plan: order, predecessors, faces."""

from __future__ import annotations

import itertools

import pytest
import torch

import spatial_lstm
from spatial_lstm.engine.geometry import Grid, build, make_plan

CASES = [
    ((5,), None),
    ((3, 4), None),
    ((1, 4), None),
    ((2, 3, 2), None),
    ((2, 1, 2, 3), None),
    ((3, 4), [[3, 4], [1, 2], [2, 1]]),
    ((4,), [[1], [4], [2]]),
    ((3, 2, 2), [[1, 1, 1], [3, 2, 1], [2, 1, 2]]),
]


@pytest.mark.parametrize(("extents", "sizes"), CASES)
def test_plan_is_the_grid(extents: tuple[int, ...], sizes: list[list[int]] | None) -> None:
    """Site by site: order, predecessor, successor and both faces, in every direction."""
    batch, n = 3, len(extents)
    own = sizes or [list(extents)] * batch
    directions = ["".join(letters) for letters in itertools.product("fr", repeat=n)]
    plan = make_plan(Grid(batch, extents, directions, sizes))
    strides = [torch.Size(extents[k + 1 :]).numel() for k in range(n)]
    for d, direction in enumerate(directions):
        seen = {}
        for row, raster in enumerate(plan.site[d].tolist()):
            image, rest = divmod(raster, torch.Size(extents).numel())
            p = tuple(rest // stride % extent for stride, extent in zip(strides, extents, strict=True))
            q = tuple(s - 1 - x if letter == "r" else x for x, s, letter in zip(p, own[image], direction, strict=True))
            assert all(0 <= x < s for x, s in zip(q, own[image], strict=True))
            assert plan.offsets[sum(q)] <= row < plan.offsets[sum(q) + 1]
            seen[image, q] = row
        assert len(seen) == plan.sites == sum(torch.Size(size).numel() for size in own)
        for (image, q), row in seen.items():
            for k in range(n):
                before = (image, tuple(x - (j == k) for j, x in enumerate(q)))
                after = (image, tuple(x + (j == k) for j, x in enumerate(q)))
                if after in seen:
                    assert plan.succ[row, k] == seen[after]
                else:
                    entry = -1 - int(plan.succ[row, k])
                    assert plan.far[entry] == row
                    assert sum(plan.far_counts[:k]) <= entry < sum(plan.far_counts[: k + 1])
                if before in seen:
                    assert plan.pred[row, k] == seen[before]
                else:
                    entry = int(plan.pred[row, k]) - plan.sites
                    assert plan.edge[entry] == row * n + k
                    assert plan.edge_offsets[sum(q)] <= entry < plan.edge_offsets[sum(q) + 1]


def test_neighbor_of_the_second_rows_first_column() -> None:
    """Its predecessor along the width is the near face, not the end of the first row."""
    plan = make_plan(Grid(1, (3, 4), ["ff"]))
    row = plan.site[0].tolist().index(4)
    above, left = plan.pred[row].tolist()
    assert plan.site[0][above] == 0
    assert left >= plan.sites


def test_faces_are_indexed_by_coordinate() -> None:
    """Entry e of the near face of axis 0 is read by the first row visited, at the entry's own column, in every direction."""
    extents = (3, 4)
    directions = ["ff", "fr", "rf", "rr"]
    plan = make_plan(Grid(1, extents, directions))
    for d, direction in enumerate(directions):
        for entry in range(plan.edges):
            row, axis = divmod(int(plan.edge[entry]), 2)
            i, j = divmod(int(plan.site[d, row]), 4)
            slot = int(plan.near[d, entry])
            assert slot == (j if axis == 0 else 4 + i)
            assert (i, j)[axis] == (0 if direction[axis] == "f" else extents[axis] - 1)


def test_sizes_out_of_range() -> None:
    for sizes in ([[0, 1]], [[4, 1]], [[1, -1]]):
        with pytest.raises(ValueError, match=r"expected sizes from 1 .* got"):
            Grid(1, (3, 4), ["ff"], sizes)


def test_too_many_sites() -> None:
    with pytest.raises(ValueError, match="expected at most"):
        Grid(1 << 16, (1 << 16, 1), ["ff"])


def test_cache_returns_the_same_plan_and_is_bounded() -> None:
    assert make_plan(Grid(1, (3, 4), ["ff"])) is make_plan(Grid(1, (3, 4), ["ff"]))
    assert make_plan(Grid(1, (3, 4), ["ff"])) is not make_plan(Grid(1, (3, 4), ["fr"]))
    for width in range(1, 200):
        make_plan(Grid(1, (2, width), ["ff"]))
    assert len(build._cache._plans) <= build._CACHE_PLANS


def test_cache_forgets_large_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_CACHE_BYTES", 1000)
    make_plan(Grid(1, (3, 3), ["ff"]))
    make_plan(Grid(1, (3, 3), ["rr"]))
    assert len(build._cache._plans) == 1


def test_what_plans_take_is_bounded_from_above() -> None:
    """With all that is derived, whose tables come after a plan has been let into the cache."""
    for extents, sizes in CASES:
        plan = make_plan(Grid(3, extents, ["f" * len(extents), "r" * len(extents)], sizes))
        found = [getattr(plan, name) for name in dir(plan) if not name.startswith("_")]
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors_in(found)}
        assert 0 < sum(storages.values()) <= plan.most_bytes


def tensors_in(value: object) -> list[torch.Tensor]:
    if isinstance(value, (list, tuple)):
        return [tensor for each in value for tensor in tensors_in(each)]
    return [value] if isinstance(value, torch.Tensor) else []


def test_plans_can_be_cleared() -> None:
    first = make_plan(Grid(1, (3, 4), ["ff"]))
    spatial_lstm.clear_cache()
    assert len(build._cache._plans) == 0
    assert make_plan(Grid(1, (3, 4), ["ff"])) is not first


def test_plans_made_under_transforms_and_in_inference_mode_are_ordinary() -> None:
    """They are cached, and read by kernels through their addresses."""
    plans = []

    def function(x: torch.Tensor) -> torch.Tensor:
        plans.append(make_plan(Grid(1, (7, 11), ["fr"])))
        assert plans[-1].output_rows.data_ptr()
        return x

    torch.func.jvp(function, (torch.ones(2),), (torch.ones(2),))
    with torch.inference_mode():
        plans.append(make_plan(Grid(1, (11, 7), ["fr"])))
    for plan in plans:
        for tensor in (plan.site, plan.pred, plan.succ, plan.output_rows):
            assert tensor.data_ptr()
            assert not tensor.is_inference()
