"""SpatialLSTM in pieces: tile by tile with faces handed on, and each image of a padded batch alone."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import Tensor

from spatial_lstm import SpatialLSTM, State
from tests.cases import EXTENTS, SIZES, VARIANTS, assert_close, faces, gradients, make_input, make_layer, make_state


@pytest.mark.support("Tile by tile equals the whole, gradients too")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiles_with_faces_handed_on_equal_the_whole(variant: str, n: int) -> None:
    """Outputs and gradients, cut once along every axis, in a direction with a reverse axis."""
    directions = ("f" * n, "r" + "f" * (n - 1))
    layer = make_layer(variant, 3, 4, spatial_dims=n, directions=directions)
    extents = (3, 4, 2)[:n]
    x, near = make_input(layer, 2, extents), make_state(layer, 2, extents)
    for axis, d in itertools.product(range(n), range(2)):
        single = copy.deepcopy(layer)
        single.directions = (directions[d],)
        state = State(*(tuple(face[d : d + 1] for face in group) for group in near))
        inputs = [x, *faces(near), *(p for p in single.parameters())]
        whole, far = single(x, state)
        first, second = x.split([1, extents[axis] - 1], dim=2 + axis)
        if directions[d][axis] == "r":
            first, second = second, first
        out1, mid = run_tile(single, first, state, axis, 0 if directions[d][axis] == "f" else 1, extents)
        out2, end = run_tile(single, second, state, axis, 1 if directions[d][axis] == "f" else 0, extents, mid)
        joined = torch.cat([out1, out2] if directions[d][axis] == "f" else [out2, out1], dim=2 + axis)
        assert_close([joined, end.h[axis], end.c[axis]], [whole, far.h[axis], far.c[axis]])  # type: ignore[list-item]
        assert_close(gradients([joined], inputs), gradients([whole], inputs))


def run_tile(
    layer: SpatialLSTM,
    x: Tensor,
    near: State,
    axis: int,
    half: int,
    extents: tuple[int, ...],
    before: State | None = None,
) -> tuple[Tensor, State]:
    """One of two tiles cut along ``axis``: its near faces are the whole's, cut, and along ``axis`` what left the tile before."""
    groups = []
    for name in ("h", "c"):
        tile = []
        for k, face in enumerate(getattr(near, name)):
            if k == axis:
                tile.append(face if before is None else getattr(before, name)[k])
            else:
                dim = 3 + (axis if axis < k else axis - 1)
                tile.append(face.split([1, extents[axis] - 1], dim=dim)[half])
        groups.append(tuple(tile))
    output, state = layer(x, State(*groups))
    return output, state


@pytest.mark.parametrize("n", [1, 2, 3])
def test_missing_faces_are_zeros(n: int) -> None:
    layer = make_layer("graves", 3, 4, spatial_dims=n, directions="all")
    x, near = make_input(layer), make_state(layer, 2, EXTENTS[n])
    for missing in range(n):
        some = State(tuple(None if k == missing else f for k, f in enumerate(near.h)), near.c)
        zero = State(
            tuple(torch.zeros_like(f) if k == missing else f for k, f in enumerate(near.h) if f is not None), near.c
        )
        assert_close([layer(x, some)[0]], [layer(x, zero)[0]])
    nothing = State((None,) * n, (None,) * n)
    assert torch.equal(layer(x, nothing)[0], layer(x)[0])


@pytest.mark.support("Padded batches with `sizes`")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_sizes_give_what_each_image_gives_alone(variant: str, n: int) -> None:
    """In all directions, two layers; NaN in the padding reaches nothing, and nothing reaches the padding."""
    layer = make_layer(variant, 3, 4, 2, spatial_dims=n, directions="all")
    sizes = torch.tensor(SIZES[n])
    x, near = make_input(layer, 2), make_state(layer, 2, EXTENTS[n])
    inside = torch.zeros(2, 1, *EXTENTS[n], dtype=torch.bool)
    for image, size in enumerate(SIZES[n]):
        inside[(image, 0, *(slice(s) for s in size))] = True
    poisoned = torch.where(inside, x, torch.nan)
    output, far = layer(poisoned, near, sizes=sizes)
    assert not output.masked_select(~inside).any()
    grads = gradients([output, *faces(far)], [x, *faces(near), *layer.parameters()])
    assert all(g.isfinite().all() for g in grads)
    for image, size in enumerate(SIZES[n]):
        window = tuple(slice(s) for s in size)
        alone_near = State(*(tuple(cut_face(face, image, size, k) for k, face in enumerate(group)) for group in near))
        alone, alone_far = layer(x[(slice(image, image + 1), slice(None), *window)], alone_near)
        assert_close([output[(slice(image, image + 1), slice(None), *window)]], [alone])
        for group, alone_group in zip(far, alone_far, strict=True):
            for k, (face, alone_face) in enumerate(zip(group, alone_group, strict=True)):
                assert_close([cut_face(face, image, size, k)], [alone_face])
                assert torch.isclose(face[:, image].abs().sum(), alone_face.abs().sum()), "zero beyond the image"


def cut_face(face: Tensor, image: int, size: list[int], axis: int) -> Tensor:
    return face[
        (slice(None), slice(image, image + 1), slice(None), *(slice(s) for k, s in enumerate(size) if k != axis))
    ]
