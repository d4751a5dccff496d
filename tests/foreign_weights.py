"""Random weights of other programs, each in its own layout."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
K, D, HEIGHT, WIDTH = 3, 2, 4, 5
PARAMETERS = 4 * (1 + K + D + D) * 5 * D  # of rnn2d: four directions


def draw(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def keras_weights(seed: int = 0) -> list[Array]:
    return [draw(seed, K, 4 * D), draw(seed + 1, D, 4 * D), draw(seed + 2, 4 * D)]


def returnn_parameters() -> dict[str, Array]:
    shapes = {"W": (K, 5 * D), "U": (D, 5 * D), "V": (D, 5 * D), "b": (5 * D,)}
    names = [(kind, number) for number in "1234" for kind in shapes]
    return {f"{kind}{number}": draw(place, *shapes[kind]) for place, (kind, number) in enumerate(names)}


def ride_parameters(inputs: int, extended: bool, seed: int = 0) -> dict[str, Array]:
    columns = inputs + (4 if extended else 2) * D
    gates = ("g", "i", "f_i", "f_j", "o")
    found = {f"W_{gate}": draw(seed + place, D, columns) for place, gate in enumerate(gates)}
    return found | {f"b_{gate}": draw(seed + 10 + place, D) for place, gate in enumerate(gates)}
