"""Weights of other programs: each program's own equations site by site beside the layer they become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from spatial_lstm import SpatialLSTM
from spatial_lstm.importers import from_keras, from_returnn, from_ride, from_rnn2d
from tests.cases import assert_close
from tests.foreign_weights import (
    HEIGHT,
    PARAMETERS,
    WIDTH,
    Array,
    D,
    K,
    draw,
    keras_weights,
    returnn_parameters,
    ride_parameters,
)

SIZES = [(4, 5), (2, 3), (1, 4)]


def s(z: Array) -> Array:
    found: Array = 1 / (1 + np.exp(-z))
    return found


def output_of(layer: SpatialLSTM, images: Array, sizes: Sequence[tuple[int, int]] | None = None) -> Array:
    """What a layer gives for images with channels last."""
    with torch.no_grad():
        given = torch.from_numpy(images) if layer.channels_last else torch.from_numpy(images).movedim(-1, 1)
        found = layer(given, sizes=sizes)[0]
        return np.asarray(found if layer.channels_last else found.movedim(1, -1))


def assert_equal(found: Array, expected: Array) -> None:
    assert np.abs(expected).max() > 0.1
    assert_close([torch.from_numpy(np.ascontiguousarray(found))], [torch.from_numpy(expected)])


# Keras


def keras_steps(x: Array, kernel: Array, recurrent: Array, bias: Array) -> Array:
    """Of a sequence ``(L, C)``."""
    h, c, found = np.zeros(D), np.zeros(D), []
    for step in x:
        z = step @ kernel + h @ recurrent + bias
        c = s(z[D : 2 * D]) * c + s(z[:D]) * np.tanh(z[2 * D : 3 * D])
        h = s(z[3 * D :]) * np.tanh(c)
        found.append(h)
    return np.array(found)


@pytest.mark.parametrize("channels_last", [True, False])
def test_keras(channels_last: bool) -> None:
    weights, x = keras_weights(), draw(9, 2, 6, K)
    layer = from_keras(weights, channels_last=channels_last)
    assert (layer.channels_last, layer.spatial_dims, layer.bias) == (channels_last, 1, True)
    assert_equal(output_of(layer, x), np.array([keras_steps(each, *weights) for each in x]))
    assert_equal(
        output_of(from_keras(weights[:2]), x), np.array([keras_steps(e, *weights[:2], np.zeros(8)) for e in x])
    )


@pytest.mark.parametrize("merge", ["concat", "sum", "mean"])
def test_keras_bidirectional(merge: str) -> None:
    weights, x = [*keras_weights(), *keras_weights(5)], draw(9, 2, 6, K)
    forward = np.array([keras_steps(each, *weights[:3]) for each in x])
    backward = np.array([keras_steps(each[::-1], *weights[3:])[::-1] for each in x])
    expected = {
        "concat": np.concatenate([forward, backward], axis=2),
        "sum": forward + backward,
        "mean": (forward + backward) / 2,
    }
    assert_equal(output_of(from_keras(weights, merge=merge), x), expected[merge])
    assert not from_keras([*weights[:2], *weights[3:5]]).bias
    turned = [weight.astype(">f8") for weight in weights]
    assert_equal(output_of(from_keras(turned, merge=merge), x), expected[merge])


def test_keras_becomes_what_torch_has() -> None:
    layer = from_keras([weight.astype(np.float32) for weight in keras_weights()])
    lstm = layer.to_lstm()
    assert isinstance(lstm, nn.LSTM)
    assert lstm.weight_ih_l0.dtype == torch.float32
    assert torch.equal(SpatialLSTM.from_lstm(lstm).weight_hh_l0, layer.weight_hh_l0)


# rnn2d


def visited(direction: str) -> list[tuple[int, int, int, int]]:
    """Places in the order of a direction, each with the steps back to its predecessors."""
    down, right = (1 if letter == "f" else -1 for letter in direction)
    rows, columns = range(HEIGHT)[::down], range(WIDTH)[::right]
    return [(y, x, down, right) for y, x in product(rows, columns)]


Step = Callable[[Array, Array, Array], Array]


def swept(z: Array, above: Array, left: Array, direction: str, size: tuple[int, int], step: Step) -> Array:
    """One image, one direction: of ``z`` ``(H, W, 5 h)`` without what is recurrent, h ``(H, W, h)``; ``step`` makes c of gates.

    States stand one place off, so that what lies outside is zero.
    """
    h, c = np.zeros((HEIGHT + 2, WIDTH + 2, D)), np.zeros((HEIGHT + 2, WIDTH + 2, D))
    for y, x, down, right in visited(direction):
        if y < size[0] and x < size[1]:
            up, back = (y + 1 - down, x + 1), (y + 1, x + 1 - right)
            gates = (z[y, x] + h[up] @ above + h[back] @ left).reshape(5, D)
            c[y + 1, x + 1], h[y + 1, x + 1] = step(gates, c[up], c[back])
    return h[1:-1, 1:-1]


def stable(i: Array, f: Array, opening: Array, o: Array, a: Array, c_y: Array, c_x: Array) -> Array:
    c = s(i) * np.tanh(a) + s(f) * s(opening) * c_y + s(f) * (1 - s(opening)) * c_x
    return np.array([c, s(o) * np.tanh(c)])


def plain(i: Array, f_y: Array, f_x: Array, o: Array, a: Array, c_y: Array, c_x: Array) -> Array:
    c = s(i) * np.tanh(a) + s(f_y) * c_y + s(f_x) * c_x
    return np.array([c, s(o) * np.tanh(c)])


CELLS = {"stable": stable, "graves": plain}


def rnn2d_y_first(P: Array, images: Array, cell: str) -> Array:
    """``(N, H, W, 4 h)``; parameters where its macros B, W, U (Ry) and V (Rx) look for them; gates a, i, o and two to forget."""

    def step(q: Array, c_y: Array, c_x: Array) -> Array:
        return CELLS[cell](q[1], q[3], q[4], q[2], q[0], c_y, c_x)

    found = np.zeros((len(images), HEIGHT, WIDTH, 4, D))
    for z, direction in enumerate(("ff", "fr", "rf", "rr")):
        start = z * (1 + K + D + D) * 5 * D
        w, ry, rx = start + 5 * D, start + 5 * D + K * 5 * D, start + 5 * D + K * 5 * D + D * 5 * D
        x = images @ P[w : w + K * 5 * D].reshape(K, 5 * D) + P[start : start + 5 * D]
        recurrent = [P[at : at + D * 5 * D].reshape(D, 5 * D) for at in (ry, rx)]
        for n, size in enumerate(SIZES):
            found[n, :, :, z] = swept(x[n], *recurrent, direction, size, step)
    return found.reshape(*found.shape[:3], -1)


def rnn2d_x_first(P: Array, images: Array, cell: str) -> Array:
    """The same of later commits: U of what is to the left comes first; gates i, two to forget, o, a."""

    def step(q: Array, c_y: Array, c_x: Array) -> Array:
        return CELLS[cell](q[0], q[1], q[2], q[3], q[4], c_y, c_x)

    found = np.zeros((len(images), HEIGHT, WIDTH, 4, D))
    for z, direction in enumerate(("ff", "rf", "fr", "rr")):
        own = P.reshape(4, 1 + K + D + D, 5 * D)[z]
        u, v = own[1 + K : 1 + K + D], own[1 + K + D :]
        for n, size in enumerate(SIZES):
            found[n, :, :, z] = swept(images[n] @ own[1 : 1 + K] + own[0], v, u, direction, size, step)
    return found.reshape(*found.shape[:3], -1)


def here(there: Array) -> Array:
    """Channels of directions ff, rf, fr, rr as ff, fr, rf, rr."""
    parts = np.split(there, 4, axis=-1)
    return np.concatenate([parts[k] for k in (0, 2, 1, 3)], axis=-1)


@pytest.mark.parametrize("cell", ["stable", "graves"])
def test_rnn2d(cell: str) -> None:
    P, images = draw(0, PARAMETERS), draw(1, len(SIZES), HEIGHT, WIDTH, K)
    layer = from_rnn2d(P, D, layout="y-first", cell=cell)
    assert (layer.input_size, layer.hidden_size, layer.cell_type) == (K, D, cell)
    assert_equal(output_of(layer, images, SIZES), rnn2d_y_first(P, images, cell))


def test_rnn2d_of_later_commits() -> None:
    P, images = draw(0, PARAMETERS), draw(1, len(SIZES), HEIGHT, WIDTH, K)
    layer = from_rnn2d(torch.from_numpy(P), D, layout="x-first", cell="graves", channels_last=True)
    assert_equal(output_of(layer, images, SIZES), here(rnn2d_x_first(P, images, "graves")))


# RETURNN


def returnn_directions(P: dict[str, Array], images: Array) -> list[Array]:
    """The outputs Y1 .. Y4 of its operator, ``(N, H, W, h)``: V_h of what is to the left, V_v of what is above."""

    def step(data: Array, old_y: Array, old_x: Array) -> Array:
        return stable(*data, old_y, old_x)

    found = []
    for number, direction in (("1", "ff"), ("2", "rf"), ("3", "fr"), ("4", "rr")):
        x = images @ P["W" + number] + P["b" + number]
        V_h, V_v = P["U" + number], P["V" + number]
        found.append(np.array([swept(x[n], V_v, V_h, direction, size, step) for n, size in enumerate(SIZES)]))
    return found


@pytest.mark.parametrize("suffix", ["", "_hidden_0"])
def test_returnn(suffix: str) -> None:
    P, images = returnn_parameters(), draw(99, len(SIZES), HEIGHT, WIDTH, K)
    expected = returnn_directions(P, images)
    named = {name + suffix: array for name, array in P.items()}
    assert_equal(output_of(from_returnn(named), images, SIZES), sum(expected[1:], expected[0]) / 4)
    side_by_side = output_of(from_returnn(named, merge="concat"), images, SIZES)
    assert_equal(side_by_side, here(np.concatenate(expected, axis=-1)))


# RIDE


def ride_hiddens(P: dict[str, Array], images: Array, extended: bool) -> Array:
    """Its network, ``(N, H, W, h)``."""
    h = np.zeros((len(images), HEIGHT + 1, WIDTH + 1, D))
    c = np.zeros_like(h)
    for i, j in product(range(HEIGHT), range(WIDTH)):
        left, above = (slice(None), i + 1, j), (slice(None), i, j + 1)
        states = [h[left], h[above], *([c[left], c[above]] if extended else [])]
        y = np.concatenate([images[:, i, j], *states], axis=1)
        z = {gate: y @ P[f"W_{gate}"].T + P[f"b_{gate}"] for gate in ("g", "i", "f_i", "f_j", "o")}
        now = s(z["f_i"]) * c[above] + s(z["f_j"]) * c[left] + s(z["i"]) * np.tanh(z["g"])
        c[:, i + 1, j + 1], h[:, i + 1, j + 1] = now, np.tanh(s(z["o"]) * now)
    return h[:, 1:, 1:]


@pytest.mark.parametrize("extended", [False, True])
def test_ride(extended: bool) -> None:
    P, images = ride_parameters(K, extended), draw(99, 2, HEIGHT, WIDTH, K)
    layer = from_ride(P, extended=extended)
    assert (layer.input_size, layer.hidden_size, layer.cell_type) == (K, D, "spatial")
    first = ride_hiddens(P, images, extended)
    assert_equal(output_of(layer, images), first)
    above = ride_parameters(D, extended, seed=50)
    stacked = from_ride([P, above], extended=extended, channels_last=True)
    assert_equal(output_of(stacked, images), ride_hiddens(above, first, extended))
