"""The reference in other pieces: neighbors, turned images, tile by tile, each image of a batch alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spatial_lstm import reference
from tests.reference_cases import EXACT, SHAPES, SIZES, Array, arguments, costs, every_case, every_cell


def test_the_neighbor_of_row_1_column_0_is_above() -> None:
    given = arguments("spatial", "ff", (2, 3), batch=1)
    h = reference.forward(**given).h
    for column in range(3):
        moved = given | {"x": given["x"].copy()}
        moved["x"][:, :, 0, column] += 1
        change = np.abs(reference.forward(**moved).h - h)[0, :, 1, 0].max()
        assert (change > 0) == (column == 0)  # neither the end of the row above nor anything to the right


@pytest.mark.parametrize("direction", ["fr", "rf", "rr"])
@every_cell
def test_a_direction_is_the_forward_one_of_the_turned_image(cell: str, direction: str) -> None:
    given = arguments(cell, direction, (2, 3))
    turn = tuple(k for k in range(2) if direction[k] == "r")

    def turned(face: Array, k: int) -> Array:
        return np.flip(face, 2) if 1 - k in turn else face

    state = [[turned(face, k) for k, face in enumerate(part)] for part in given["state"]]
    x = np.flip(given["x"], tuple(k + 2 for k in turn))
    expected = reference.forward(**(given | {"x": x, "direction": "ff", "state": state}))
    result = reference.forward(**given)
    for got, want in ((result.h, expected.h), (result.c, expected.c), (result.gates, expected.gates)):
        np.testing.assert_array_equal(got, np.flip(want, tuple(k - 2 for k in turn)))
    for part, wanted in zip(result.state, expected.state, strict=True):
        for k in range(2):
            np.testing.assert_array_equal(part[k], turned(wanted[k], k))


def tile(part: Any, axis: int, where: slice, entering: Any = None) -> list[Any]:
    """Faces of a tile that spans ``where`` of ``axis``; that of ``axis`` itself is replaced."""
    cut = list(part)
    for k, face in enumerate(part):
        index = [slice(None)] * face.ndim
        if k != axis:
            index[2 + axis - (axis > k)] = where
        cut[k] = face[tuple(index)] if k != axis or entering is None else entering
    return cut


@every_case
def test_tile_by_tile_is_the_whole(cell: str, direction: str) -> None:
    n = len(direction)
    shape = (3, 2, 4)[:n]
    given = arguments(cell, direction, shape)
    whole = reference.forward(**given)
    grads = costs(whole)
    gradients = reference.backward(whole, **grads)
    for axis in range(n):
        tiles = [slice(0, 1), slice(1, shape[axis])][:: 1 if direction[axis] == "f" else -1]
        at = [(slice(None), slice(None), *[slice(None)] * axis, where) for where in tiles]
        runs: list[reference.Forward] = []
        for where, index in zip(tiles, at, strict=True):
            entering = [part[axis] for part in runs[-1].state] if runs else (None, None)
            state = tuple(tile(part, axis, where, e) for part, e in zip(given["state"], entering, strict=True))
            runs.append(reference.forward(**(given | {"x": given["x"][index], "state": state})))
            np.testing.assert_allclose(runs[-1].h, whole.h[index], rtol=EXACT, atol=EXACT)
        leaving: Any = (None, None)
        total = np.zeros_like(gradients.weight_hh)
        for where, index, run in reversed(list(zip(tiles, at, runs, strict=True))):
            far: Any = tuple(tile(part, axis, where, e) for part, e in zip(grads["grad_state"], leaving, strict=True))
            back = reference.backward(run, grads["grad_h"][index], grads["grad_c"][index], far)
            np.testing.assert_allclose(back.x, gradients.x[index], rtol=EXACT, atol=EXACT)
            total += back.weight_hh
            leaving = [part[axis] for part in back.state]
        np.testing.assert_allclose(total, gradients.weight_hh, rtol=EXACT, atol=1e-11)
        np.testing.assert_allclose(leaving[1], gradients.state.c[axis], rtol=EXACT, atol=EXACT)


def poison(array: Array, own: Any, features: int) -> Array:
    """``array (N, features.., *S)`` with NaN beyond each image's own extent."""
    result = np.full_like(array, np.nan)
    for image, size in enumerate(own):
        inside: Any = (image, *[slice(None)] * features, *map(slice, size))
        result[inside] = array[inside]
    return result


@every_case
def test_a_batch_with_sizes_is_each_image_alone_and_nan_beyond_reaches_nothing(cell: str, direction: str) -> None:
    n = len(direction)
    given, own = arguments(cell, direction, SHAPES[n]), SIZES[n]
    rest = [[size[:k] + size[k + 1 :] for size in own] for k in range(n)]
    state = [[poison(face, rest[k], 1) for k, face in enumerate(part)] for part in given["state"]]
    together = given | {"x": poison(given["x"], own, 1), "state": state, "sizes": np.array(own)}
    result = reference.forward(**together)
    full = costs(result)
    far: Any = [[poison(face, rest[k], 1) for k, face in enumerate(part)] for part in full["grad_state"]]
    gradients = reference.backward(result, poison(full["grad_h"], own, 1), poison(full["grad_c"], own, 1), far)
    total = np.zeros_like(gradients.weight_hh)
    for image, size in enumerate(own):
        one, inside = slice(image, image + 1), tuple(map(slice, size))

        def cut(array: Array, where: tuple[slice, ...], one: slice = one) -> Array:
            return array[(one, slice(None), *where)]

        def cut_faces(parts: Any, inside: tuple[slice, ...] = inside, one: slice = one) -> list[list[Array]]:
            return [[f[(one, slice(None), *inside[:k], *inside[k + 1 :])] for k, f in enumerate(p)] for p in parts]

        alone = reference.forward(**(given | {"x": cut(given["x"], inside), "state": cut_faces(given["state"])}))
        costs_alone: Any = cut(full["grad_h"], inside), cut(full["grad_c"], inside), cut_faces(full["grad_state"])
        back = reference.backward(alone, *costs_alone)
        total += back.weight_hh
        pairs = [(result.h, alone.h), (result.c, alone.c), (gradients.x, back.x)]
        for got, want in pairs:
            np.testing.assert_array_equal(cut(got, inside), want)
            assert np.count_nonzero(got[one]) == np.count_nonzero(want)  # zero beyond
        for parts, wants in ((result.state, alone.state), (gradients.state, back.state)):
            for got_part, want_part, cut_part in zip(parts, wants, cut_faces(parts), strict=True):
                for got, want, part in zip(got_part, want_part, cut_part, strict=True):
                    np.testing.assert_array_equal(part, want)
                    assert np.count_nonzero(got[one]) == np.count_nonzero(want)
    np.testing.assert_allclose(gradients.weight_hh, total, rtol=EXACT, atol=EXACT)
