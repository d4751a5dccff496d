"""The reference: against figures worked out by hand, finite differences, ``nn.LSTM``, and itself in other pieces."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from math import exp, tanh
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spatial_lstm import reference

Array = NDArray[Any]

EXACT = 1e-12  # the same sums in another order
DIFFERENCE = 1e-8  # a central difference of step 1e-5, whose error is of order 1e-10

CELLS = ("spatial", "extended", "graves", "peephole", "stable")
SHAPES = {1: (4,), 2: (2, 3), 3: (2, 1, 3)}
SIZES = {1: [[4], [2]], 2: [[2, 3], [1, 2]], 3: [[2, 1, 2], [1, 1, 3]]}


def directions(n: int) -> list[str]:
    return ["".join(letters) for letters in itertools.product("fr", repeat=n)]


EVERY = [(cell, d) for cell in CELLS for n in SHAPES for d in directions(n)]
every_case = pytest.mark.parametrize(("cell", "direction"), EVERY, ids=["-".join(case) for case in EVERY])
every_cell = pytest.mark.parametrize("cell", CELLS)


def faces(rng: np.random.Generator, batch: int, hidden: int, shape: tuple[int, ...]) -> list[Array]:
    return [rng.normal(size=(batch, hidden, *shape[:k], *shape[k + 1 :])) for k in range(len(shape))]


def arguments(cell: str, direction: str, shape: tuple[int, ...], hidden: int = 2, batch: int = 2) -> dict[str, Any]:
    """Random keyword arguments of ``forward``, every optional one given."""
    n, channels = len(shape), 3
    rng = np.random.default_rng(len(cell) + 10 * n)
    rows = (3 + n) * hidden
    given: dict[str, Any] = {
        "x": rng.normal(size=(batch, channels, *shape)),
        "weight_ih": rng.normal(size=(rows, channels)),
        "weight_hh": rng.normal(size=(rows, n * hidden)),
        "bias": rng.normal(size=rows),
        "cell": {"extended": "spatial", "peephole": "graves"}.get(cell, cell),
        "direction": direction,
        "state": (faces(rng, batch, hidden, shape), faces(rng, batch, hidden, shape)),
    }
    if cell == "extended":
        given["weight_ch"] = rng.normal(size=(rows, n * hidden))
    if cell == "peephole":
        given["weight_peephole"] = rng.normal(size=(2 * n + 1, hidden))
    return given


def costs(result: reference.Forward) -> dict[str, Any]:
    """Random gradients for ``backward``, of every site's h and c and of the far faces."""
    rng = np.random.default_rng(7)
    batch, hidden, *shape = result.h.shape
    far = tuple(faces(rng, batch, hidden, tuple(shape)) for _ in "hc")
    return {"grad_h": rng.normal(size=result.h.shape), "grad_c": rng.normal(size=result.h.shape), "grad_state": far}


def cost(result: reference.Forward, grads: dict[str, Any]) -> float:
    """The cost whose gradients are ``grads``."""
    total = (result.h * grads["grad_h"]).sum() + (result.c * grads["grad_c"]).sum()
    for part, grad in zip(result.state, grads["grad_state"], strict=True):
        total += sum((face * g).sum() for face, g in zip(part, grad, strict=True))
    return float(total)


def leaves(given: dict[str, Any], gradients: reference.Gradients) -> Iterator[tuple[str, Array, Array]]:
    """Name, value and gradient of everything that has one."""
    for name in ("x", "weight_ih", "weight_hh", "bias", "weight_peephole", "weight_ch"):
        gradient = getattr(gradients, name)
        assert (gradient is not None) == (name in given)
        if name in given:
            yield name, given[name], gradient
    for letter, part, grads in zip("hc", given["state"], gradients.state, strict=True):
        for k, (face, grad) in enumerate(zip(part, grads, strict=True)):
            yield f"{letter} of face {k}", face, grad


def slope(evaluate: Callable[[], float], value: Array, along: Array) -> float:
    """The derivative of the cost when ``value`` moves ``along``, by a central difference."""
    before, step = value.copy(), 1e-5
    value += step * along
    above = evaluate()
    value[...] = before - step * along
    below = evaluate()
    value[...] = before
    return (above - below) / (2 * step)


# Against finite differences.


@every_case
@pytest.mark.parametrize("sized", [False, True], ids=["full", "sizes"])
def test_gradients_are_those_of_finite_differences(cell: str, direction: str, sized: bool) -> None:
    n = len(direction)
    given = arguments(cell, direction, SHAPES[n]) | ({"sizes": np.array(SIZES[n])} if sized else {})
    result = reference.forward(**given)
    grads = costs(result)
    rng = np.random.default_rng(1)
    for name, value, gradient in leaves(given, reference.backward(result, **grads)):
        along = rng.normal(size=value.shape)
        expected = slope(lambda: cost(reference.forward(**given), grads), value, along)
        scale = 1 + np.abs(gradient * along).sum()
        assert abs((gradient * along).sum() - expected) < DIFFERENCE * scale, name


@every_cell
def test_every_entry_of_every_gradient(cell: str) -> None:
    given = arguments(cell, "fr", (2, 2), batch=1)
    result = reference.forward(**given)
    grads = costs(result)
    for name, value, gradient in leaves(given, reference.backward(result, **grads)):
        for entry in np.ndindex(value.shape):
            along = np.zeros(value.shape)
            along[entry] = 1
            expected = slope(lambda: cost(reference.forward(**given), grads), value, along)
            assert abs(gradient[entry] - expected) < DIFFERENCE * (1 + np.abs(gradient).max()), (name, entry)


@every_cell
def test_a_gradient_that_is_not_given_is_zero(cell: str) -> None:
    result = reference.forward(**arguments(cell, "ff", (2, 3)))
    full = costs(result)
    names = ("grad_h", "grad_c", "grad_state")
    parts = [reference.backward(result, **{name: full[name]}).weight_hh for name in names]
    np.testing.assert_allclose(sum(parts), reference.backward(result, **full).weight_hh, rtol=EXACT, atol=EXACT)


# Against figures worked out by hand: one site with two predecessors, one channel, one feature.

X, H, C = 0.5, (0.3, -0.4), (0.8, -1.2)
W = {"i": 0.4, "f0": -0.7, "f1": 0.2, "g": 0.9, "o": -0.3}
U0 = {"i": 0.1, "f0": 0.6, "f1": -0.5, "g": 0.3, "o": 0.8}
U1 = {"i": -0.2, "f0": 0.5, "f1": 0.7, "g": -0.6, "o": 0.4}
B = {"i": 0.05, "f0": 0.15, "f1": -0.25, "g": 0.35, "o": 0.45}
Z = {b: W[b] * 0.5 + U0[b] * 0.3 + U1[b] * -0.4 + B[b] for b in W}
V = {"i": (0.2, -0.1), "f0": (0.3, 0.6), "f1": (-0.4, 0.1), "g": (0.5, -0.2), "o": (-0.6, 0.7)}
P = (0.2, -0.3, 0.5, 0.7, -0.9)  # i of axis 0, i of axis 1, f_0, f_1, o


def s(z: float) -> float:
    return 1 / (1 + exp(-z))


def one_site(cell: str, **optional: Any) -> tuple[float, float]:
    """The reference's c and h of the site above."""
    h_faces, c_faces = ([np.full((1, 1, 1), value) for value in pair] for pair in (H, C))
    result = reference.forward(
        np.full((1, 1, 1, 1), X),
        np.array([[W[b]] for b in W]),
        np.array([[U0[b], U1[b]] for b in W]),
        np.array([B[b] for b in W]),
        cell=cell,
        state=(h_faces, c_faces),
        **optional,
    )
    return result.c.item(), result.h.item()


def test_spatial_site_by_hand() -> None:
    c = s(Z["i"]) * tanh(Z["g"]) + s(Z["f0"]) * 0.8 + s(Z["f1"]) * -1.2
    assert one_site("spatial") == pytest.approx((c, tanh(s(Z["o"]) * c)), abs=EXACT)


def test_extended_site_by_hand() -> None:
    z = {b: Z[b] + V[b][0] * 0.8 + V[b][1] * -1.2 for b in Z}
    c = s(z["i"]) * tanh(z["g"]) + s(z["f0"]) * 0.8 + s(z["f1"]) * -1.2
    got = one_site("spatial", weight_ch=np.array([V[b] for b in V]))
    assert got == pytest.approx((c, tanh(s(z["o"]) * c)), abs=EXACT)


def test_graves_site_by_hand() -> None:
    c = s(Z["i"]) * tanh(Z["g"]) + s(Z["f0"]) * 0.8 + s(Z["f1"]) * -1.2
    assert one_site("graves") == pytest.approx((c, s(Z["o"]) * tanh(c)), abs=EXACT)


def test_peephole_site_by_hand() -> None:
    i = s(Z["i"] + 0.2 * 0.8 - 0.3 * -1.2)
    c = i * tanh(Z["g"]) + s(Z["f0"] + 0.5 * 0.8) * 0.8 + s(Z["f1"] + 0.7 * -1.2) * -1.2
    h = s(Z["o"] - 0.9 * c) * tanh(c)
    assert one_site("graves", weight_peephole=np.array(P)[:, None]) == pytest.approx((c, h), abs=EXACT)


def test_stable_site_by_hand() -> None:
    i, f, l, g, o = (Z[b] for b in ("i", "f0", "f1", "g", "o"))  # noqa: E741 - the contract's letter
    c = s(i) * tanh(g) + s(f) * (s(l) * 0.8 + (1 - s(l)) * -1.2)
    assert one_site("stable") == pytest.approx((c, s(o) * tanh(c)), abs=EXACT)


def test_stable_weights_of_three_axes_are_a_softmax() -> None:
    given = arguments("stable", "fff", (1, 1, 1), hidden=1, batch=1)
    result = reference.forward(**given)
    l0, l1 = (float(result.z[0, block].item()) for block in (2, 3))
    total = exp(l0) + exp(l1) + 1
    assert result.gates[0, 2:4].ravel() == pytest.approx((exp(l0) / total, exp(l1) / total), abs=EXACT)


# The words.


@pytest.mark.parametrize("cell", reference.CELLS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_equations_in_words_are_the_arithmetic(cell: str, n: int) -> None:
    """Every equation of ``Cell.equations``, evaluated, is what the cell computes, weights to c aside."""
    rng = np.random.default_rng(n)
    entry = reference.CELLS[cell]
    c_k, dh, dc = rng.normal(size=(n, 1)), rng.normal(size=1), np.zeros(1)
    site = entry.forward(rng.normal(size=(3 + n, 1)), c_k, None)
    grad = entry.backward(dh, dc, site, c_k, None)
    blocks = entry.gates(n)
    known = {f"c_{k}": c_k[k, 0] for k in range(n)} | dict(zip(blocks.values(), site.gates[:, 0], strict=True))
    known |= {"c": site.c[0], "h": site.h[0], "dh": dh[0], "dc": grad.c[0]}
    expected = {f"d{block}": dz for block, dz in zip(blocks, grad.z[:, 0], strict=True)}
    expected |= {"c": site.c[0], "h": site.h[0], "dc": grad.c[0]} | {f"dc_{k}": grad.c_k[k, 0] for k in range(n)}
    words = entry.equations(n).forward | entry.equations(n).backward
    assert set(words) == set(expected)
    for name, formula in words.items():
        plain = formula
        for activation in sorted(blocks.values(), key=len, reverse=True):
            plain = plain.replace(activation, f"known[{activation!r}]")
        value = eval(plain, {"tanh": tanh, "known": known, **{k: v for k, v in known.items() if "(" not in k}})
        assert value == pytest.approx(expected[name], abs=EXACT), (name, formula)


# One axis is the LSTM that everybody knows.


@pytest.mark.parametrize("cell", ["graves", "stable"])
@pytest.mark.parametrize("direction", ["f", "r"])
def test_one_axis_is_the_lstm_of_pytorch(cell: str, direction: str) -> None:
    given = arguments(cell, direction, (5,))
    lstm: Any = torch.nn.LSTM(3, 2, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh"):
            getattr(lstm, f"{name}_l0").copy_(torch.from_numpy(given[name]))
        lstm.bias_ih_l0.copy_(torch.from_numpy(given["bias"]))
        lstm.bias_hh_l0.zero_()
    sequence = torch.from_numpy(given["x"]).mT.clone().requires_grad_()
    turned = sequence.flip(1) if direction == "r" else sequence
    h_0, c_0 = (torch.from_numpy(part[0])[None] for part in given["state"])
    output, (h_n, c_n) = lstm(turned, (h_0, c_0))
    output = output.flip(1) if direction == "r" else output
    (output * output).sum().backward()
    result = reference.forward(**given)
    gradients = reference.backward(result, 2 * result.h)
    assert sequence.grad is not None
    pairs: list[tuple[Any, Any]] = [
        (result.h, output.mT),
        (result.state.h[0], h_n[0]),
        (result.state.c[0], c_n[0]),
        (gradients.x, sequence.grad.mT),
        (gradients.weight_ih, lstm.weight_ih_l0.grad),
        (gradients.weight_hh, lstm.weight_hh_l0.grad),
        (gradients.bias, lstm.bias_ih_l0.grad),
    ]
    for got, expected in pairs:
        np.testing.assert_allclose(got, expected.detach().numpy(), rtol=EXACT, atol=EXACT)


# Neighbors, directions, tiles, sizes.


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


# Small print.


def test_faces_that_are_none_are_zeros_and_bias_may_be_missing() -> None:
    given = arguments("graves", "fr", (2, 3)) | {"bias": None}
    h, c = given["state"]
    some = reference.forward(**(given | {"state": ([None, h[1]], [c[0], None])}))
    zeros = reference.forward(**(given | {"state": ([0 * h[0], h[1]], [c[0], 0 * c[1]])}))
    np.testing.assert_array_equal(some.h, zeros.h)
    gradients = reference.backward(some, some.h)
    assert gradients.bias is None
    assert np.abs(gradients.state.h[0]).max() > 0  # a near face that was None has its gradient all the same


def test_computes_in_the_dtype_of_x() -> None:
    given = arguments("stable", "ff", (2, 3))
    result = reference.forward(**(given | {"x": given["x"].astype(np.float32)}))
    gradients = reference.backward(result, result.h)
    arrays = [result.h, result.c, result.gates, *result.state.h, gradients.x, gradients.weight_hh, gradients.state.c[1]]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    np.testing.assert_allclose(result.h, reference.forward(**given).h, atol=1e-5)


def test_large_arguments_overflow_nowhere() -> None:
    given = arguments("stable", "ff", (2, 3))
    result = reference.forward(**(given | {"x": 1e4 * given["x"]}))
    assert np.isfinite(result.h).all()
    assert np.isfinite(reference.backward(result, result.h).weight_hh).all()


def test_no_images_give_no_output_and_zero_gradients() -> None:
    given = arguments("spatial", "ff", (2, 3), batch=0)
    result = reference.forward(**given)
    assert result.h.shape == (0, 2, 2, 3)
    assert not reference.backward(result).weight_hh.any()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "cell": ({"cell": "cubic"}, "expected cell to be one of"),
    "peephole": ({"weight_peephole": np.zeros((5, 2))}, "expected no weight_peephole"),
    "extended": ({"cell": "stable", "weight_ch": np.zeros((10, 4))}, "expected no weight_ch"),
    "axes": ({"weight_hh": np.zeros((11, 4))}, "expected weight_hh of shape"),
    "dtype": ({"x": np.zeros((2, 3, 2, 3), int)}, "expected x of a floating dtype"),
    "rank": ({"x": np.zeros((2, 3, 4))}, "expected weight_hh of shape"),
    "no axis": ({"x": np.zeros((2, 3))}, "expected x of shape"),
    "extent": ({"x": np.zeros((2, 3, 0, 3))}, "expected x of shape .* of extents of at least 1"),
    "channels": ({"weight_ih": np.zeros((10, 2))}, "expected weight_ih of shape"),
    "bias": ({"bias": np.zeros(9)}, "expected bias of shape"),
    "direction": ({"direction": "fx"}, "expected direction to be 2 letters"),
    "faces": ({"state": ([None], [None])}, "expected state to be a pair"),
    "face": ({"state": ([None, np.zeros((2, 2, 3))], [None, None])}, r"expected state.h\[1\] of shape"),
    "sizes": ({"sizes": np.ones((2, 3), int)}, "expected sizes of integers and shape"),
    "float sizes": ({"sizes": np.ones((2, 2))}, "expected sizes of integers and shape"),
    "sizes beyond": ({"sizes": np.array([[2, 3], [3, 3]])}, "expected sizes from 1 to"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_arguments_are_refused(wrong: str) -> None:
    changes, message = WRONG[wrong]
    with pytest.raises(ValueError, match=message):
        reference.forward(**(arguments("spatial", "ff", (2, 3)) | changes))


def test_wrong_gradients_are_refused() -> None:
    result = reference.forward(**arguments("spatial", "ff", (2, 3)))
    with pytest.raises(ValueError, match="expected grad_h of shape"):
        reference.backward(result, np.zeros((2, 2, 3, 2)))
    with pytest.raises(ValueError, match=r"expected grad_state.c\[0\] of shape"):
        reference.backward(result, grad_state=([None, None], [np.zeros(3), None]))


def test_it_stands_alone() -> None:
    """Loaded from its folder, it brings in neither torch nor the rest of the package."""
    folder = Path(reference.__file__).parent
    program = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("alone", {str(folder / "__init__.py")!r}, submodule_search_locations=[{str(folder)!r}])
module = sys.modules["alone"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.forward([[[1.0]]], [[1.0]] * 4, [[1.0]] * 4)
sys.exit(bool({{"torch", "spatial_lstm"}} & set(sys.modules)))
"""
    subprocess.run([sys.executable, "-c", program], check=True)
