"""The numbers of the worked example, all from the reference, and what each is called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from ..arguments import Given
from ..backward_pass import Gradients, backward
from ..cells import CELLS, Array, Equations
from ..forward_pass import Forward, forward, predecessors
from ..lattice import Lattice, Point, at
from .notation import factor, weighted

# The weights, over and over, each array from another place on: round numbers, for a pocket calculator.
TENTHS = (5, -3, 2, 8, 4, -2, 6, 3, -4, 7, 1)
# The rows of weight_peephole.
PEEPHOLES = (("i", "c_0"), ("i", "c_1"), ("f_0", "c_0"), ("f_1", "c_1"), ("o", "c"))
# Where the predecessors along axis 0 and axis 1 stand.
SIDES = {"f": ("above", "left"), "r": ("below", "right")}

# A symbol and its feature.
Unit = tuple[str, int]
# To each gate's unit, from each unit that enters it.
Table = dict[Unit, dict[Unit, float]]
# Of each symbol at one site, one number per feature.
Values = dict[str, Array]


@dataclass(frozen=True)
class Example:
    """The reference's results, and how to name and to write them; one channel, two axes."""

    cell: str
    target: float
    result: Forward
    gradients: Gradients

    @classmethod
    def run(
        cls,
        image: Array,
        *,
        cell: str = "spatial",
        direction: str = "ff",
        hidden: int = 1,
        peephole: bool = False,
        extended: bool = False,
        target: float = 1.0,
    ) -> Example:
        """Run the reference on an image ``(H, W)``, with the cost (h - t)^2 / 2 of every site and feature, t the target.

        Raises:
            ValueError: If the options do not go together.
        """
        if not 1 <= hidden <= 4:
            raise ValueError(f"expected hidden from 1 to 4, got {hidden}")
        if max(image.shape) > 9:
            raise ValueError(f"expected an image of at most 9x9, got {image.shape[0]}x{image.shape[1]}")
        if cell not in CELLS:
            raise ValueError(f"expected cell to be one of {sorted(CELLS)}, got {cell!r}")
        rows, columns = len(CELLS[cell].gates(2)) * hidden, 2 * hidden
        result = forward(
            image[None, None],
            round_weights((rows, 1), 3),
            round_weights((rows, columns), 5),
            round_weights((rows,), 0),
            cell=cell,
            direction=direction,
            weight_peephole=round_weights((5, hidden), 7) if peephole else None,
            weight_ch=round_weights((rows, columns), 9) if extended else None,
        )
        return cls(cell, target, result, backward(result, result.h - target))

    @cached_property
    def blocks(self) -> dict[str, str]:
        """The gates, each with the name of its activation."""
        return self.result.given.cell.gates(2)

    @cached_property
    def words(self) -> Equations:
        """The cell's equations."""
        return self.result.given.cell.equations(2)

    @cached_property
    def weights(self) -> Table:
        return self.table(self.result.given)

    @property
    def lattice(self) -> Lattice:
        """The sites in their order."""
        return self.result.given.lattices[0]

    @property
    def features(self) -> range:
        return range(self.result.given.hidden)

    def name(self, unit: Unit) -> str:
        """``h_0``, or with several features ``h_0[1]``."""
        symbol, feature = unit
        return symbol if len(self.features) == 1 or symbol in ("x", "dx", "1") else f"{symbol}[{feature + 1}]"

    def values(self, p: Point) -> Values:
        """Every symbol at site p."""
        result, grads, here = self.result, self.gradients, at(0, p)
        h_k, c_k = predecessors(result, 0, p)
        known = {"x": result.given.x[here], "1": np.ones(1), "t": np.full(len(self.features), self.target)}
        known |= {"h": result.h[here], "c": result.c[here], "dx": grads.x[here]}
        known |= {"cost": (result.h[here] - self.target) ** 2 / 2, "dh": grads.sites.h[here], "dc": grads.sites.c[here]}
        for k in range(2):
            known |= {f"h_{k}": h_k[k], f"c_{k}": c_k[k]}
            known |= {f"dh_{k}": grads.sites.h_k[here][k], f"dc_{k}": grads.sites.c_k[here][k]}
        for b, (block, activated) in enumerate(self.blocks.items()):
            known |= {block: result.z[here][b], activated: result.gates[here][b], f"d{block}": grads.sites.z[here][b]}
        return known

    def entering(self, gate: Unit) -> list[tuple[float, Unit]]:
        """The terms of a gate before its activation."""
        return [(weight, unit) for unit, weight in self.weights[gate].items()]

    def leaving(self, unit: Unit) -> list[tuple[float, Unit]]:
        """The terms of a unit's gradient that come through weights: those of the gates that it enters."""
        return [(row[unit], (f"d{block}", j)) for (block, j), row in self.weights.items() if unit in row]

    def side(self, k: int) -> str:
        """Where the predecessor along axis k stands."""
        return SIDES[self.lattice.direction[k]][k]

    def words_of(self, terms: Iterable[tuple[float, Unit]]) -> str:
        """A weighted sum in symbols."""
        return weighted((weight, "" if unit[0] == "1" else self.name(unit)) for weight, unit in terms)

    def numbers_of(self, terms: Iterable[tuple[float, Unit]], values: Values) -> str:
        """The same in numbers."""
        return weighted((w, "" if unit[0] == "1" else factor(values[unit[0]][unit[1]])) for w, unit in terms)

    def table(self, weights: Given | Gradients) -> Table:
        """All weights, or all their gradients, by the gate that they lead to and the symbol that they are multiplied with."""
        of_h, of_c = (list(product((f"{state}_0", f"{state}_1"), self.features)) for state in "hc")
        result: Table = {}
        for row, gate in enumerate(product(self.blocks, self.features)):
            entries = {("x", 0): weights.weight_ih[row, 0], **dict(zip(of_h, weights.weight_hh[row], strict=True))}
            if weights.weight_ch is not None:
                entries |= zip(of_c, weights.weight_ch[row], strict=True)
            if weights.weight_peephole is not None:
                of_gate = [(peephole, symbol) for peephole, (block, symbol) in enumerate(PEEPHOLES) if block == gate[0]]
                entries |= {
                    (symbol, gate[1]): weights.weight_peephole[peephole, gate[1]] for peephole, symbol in of_gate
                }
            if weights.bias is not None:
                entries["1", 0] = weights.bias[row]
            result[gate] = {unit: float(weight) for unit, weight in entries.items()}
        return result


def round_weights(shape: tuple[int, ...], start: int) -> Array:
    """Tenths between -0.4 and 0.8."""
    return np.resize(np.roll(TENTHS, -start), shape) / 10
