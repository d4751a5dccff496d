"""What tests of the reference draw from: every cell and direction, random arguments and gradients."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spatial_lstm import reference

Array = NDArray[Any]

EXACT = 1e-12  # the same sums in another order

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
