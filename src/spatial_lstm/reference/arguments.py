"""What the passes are given, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .cells import CELLS, Array, Cell
from .lattice import Lattice

FacesLike: TypeAlias = tuple[Sequence[ArrayLike | None], Sequence[ArrayLike | None]]


class Faces(NamedTuple):
    """States on the n faces of the grid; face k is ``(N, h, *S without axis k)``, indexed by coordinate in every direction."""

    h: tuple[Array, ...]
    c: tuple[Array, ...]


@dataclass(frozen=True)
class Given:
    """The checked arguments of :func:`~spatial_lstm.reference.forward` in the dtype of x; None stays None, but for near faces: zeros."""

    x: Array
    weight_ih: Array
    weight_hh: Array
    bias: Array | None
    weight_peephole: Array | None
    weight_ch: Array | None
    near: Faces
    lattices: tuple[Lattice, ...]
    """One per image."""
    cell: Cell

    @property
    def n(self) -> int:
        """How many axes."""
        return self.x.ndim - 2

    @property
    def blocks(self) -> int:
        """How many gate blocks, B."""
        return len(self.cell.gates(self.n))

    @property
    def hidden(self) -> int:
        """How many features of h and c."""
        return int(self.weight_hh.shape[1]) // self.n

    def zeros(self, *features: int) -> Array:
        """``(N, *features, *S)``: something for every site."""
        return np.zeros((len(self.x), *features, *self.x.shape[2:]), self.x.dtype)

    def faces(self, values: FacesLike | None, name: str) -> Faces:
        """``values`` checked, with zeros for what is None."""
        if values is None:
            values = ((None,) * self.n, (None,) * self.n)
        if len(values) != 2 or any(len(part) != self.n for part in values):
            raise ValueError(f"expected {name} to be a pair (h, c) of {self.n} faces each, got {_lengths(values)}")
        h, c = (
            tuple(self._face(part[k], k, f"{name}.{letter}[{k}]") for k in range(self.n))
            for part, letter in zip(values, "hc", strict=True)
        )
        return Faces(h, c)

    def _face(self, face: ArrayLike | None, k: int, name: str) -> Array:
        extents = self.x.shape[2:]
        shape = (len(self.x), self.hidden, *extents[:k], *extents[k + 1 :])
        return np.zeros(shape, self.x.dtype) if face is None else array(face, name, shape, self.x)


def array(value: ArrayLike, name: str, shape: tuple[int, ...], x: Array) -> Array:
    """``value`` in the dtype of x, with this shape.

    Raises:
        ValueError: If the shape is another.
    """
    result = np.asarray(value, dtype=x.dtype)
    if result.shape != shape:
        raise ValueError(f"expected {name} of shape {shape}, got {result.shape}")
    return result


def check(
    x: ArrayLike,
    weight_ih: ArrayLike,
    weight_hh: ArrayLike,
    bias: ArrayLike | None,
    cell: str,
    direction: str | None,
    weight_peephole: ArrayLike | None,
    weight_ch: ArrayLike | None,
    state: FacesLike | None,
    sizes: ArrayLike | None,
) -> Given:
    """The arguments of :func:`~spatial_lstm.reference.forward`, checked.

    Raises:
        ValueError: If anything does not fit.
    """
    entry = _cell(cell, weight_peephole is not None, weight_ch is not None)
    x = _grid(x)
    n = x.ndim - 2
    hidden = _features(np.shape(weight_hh), n, cell, len(entry.gates(n)))
    rows = len(entry.gates(n)) * hidden
    given = Given(
        x=x,
        weight_ih=array(weight_ih, "weight_ih", (rows, x.shape[1]), x),
        weight_hh=array(weight_hh, "weight_hh", (rows, n * hidden), x),
        bias=None if bias is None else array(bias, "bias", (rows,), x),
        weight_peephole=None
        if weight_peephole is None
        else array(weight_peephole, "weight_peephole", (2 * n + 1, hidden), x),
        weight_ch=None if weight_ch is None else array(weight_ch, "weight_ch", (rows, n * hidden), x),
        near=Faces((), ()),
        lattices=_lattices(x, sizes, _direction(direction, n)),
        cell=entry,
    )
    return replace(given, near=given.faces(state, "state"))


def _cell(name: str, peephole: bool, extended: bool) -> Cell:
    if not isinstance(name, str) or name not in CELLS:
        raise ValueError(f"expected cell to be one of {sorted(CELLS)}, got {name!r}")
    cell = CELLS[name]
    if peephole and not cell.takes_peephole:
        raise ValueError(f"expected no weight_peephole with cell {name!r}, got one")
    if extended and not cell.takes_extended:
        raise ValueError(f"expected no weight_ch with cell {name!r}, got one")
    return cell


def _grid(x: ArrayLike) -> Array:
    grid = np.asarray(x)
    if not np.issubdtype(grid.dtype, np.floating):
        raise ValueError(f"expected x of a floating dtype, got {grid.dtype}")
    if grid.ndim < 3 or 0 in grid.shape[2:]:
        raise ValueError(
            f"expected x of shape (N, C, *S) with one spatial axis or more, of extents of at least 1, got {grid.shape}"
        )
    return grid


def _features(shape: tuple[int, ...], n: int, cell: str, blocks: int) -> int:
    """How many features, from the B h rows and n h columns of ``weight_hh``."""
    hidden = shape[1] // n if len(shape) == 2 else 0
    if hidden < 1 or shape != (blocks * hidden, n * hidden):
        raise ValueError(
            f"expected weight_hh of shape ({blocks} h, {n} h), as cell {cell!r} has it for the {n} spatial axes of x, got {shape}"
        )
    return hidden


def _direction(direction: str | None, n: int) -> str:
    if direction is None:
        return "f" * n
    if not isinstance(direction, str) or len(direction) != n or set(direction) - {"f", "r"}:
        raise ValueError(f"expected direction to be {n} letters of 'f' and 'r', got {direction!r}")
    return direction


def _lattices(x: Array, sizes: ArrayLike | None, direction: str) -> tuple[Lattice, ...]:
    extents = x.shape[2:]
    if sizes is None:
        return (Lattice(extents, direction),) * len(x)
    own = np.asarray(sizes)
    if own.shape != (len(x), len(extents)) or not np.issubdtype(own.dtype, np.integer):
        raise ValueError(f"expected sizes of integers and shape {(len(x), len(extents))}, got {own.dtype} {own.shape}")
    if (own < 1).any() or (own > extents).any():
        raise ValueError(f"expected sizes from 1 to {extents}, got {own.tolist()}")
    return tuple(Lattice(tuple(map(int, size)), direction) for size in own)


def _lengths(values: FacesLike) -> str:
    return f"{len(values)} parts of {[len(part) for part in values]} faces"
