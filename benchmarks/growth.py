"""How large the cell state gets: for each cell, with three ways to draw the weights, on standard normal images of growing size.

    python -m benchmarks.growth

Prints the largest |c| over all sites, smallest and largest of the seeds, and keeps the figures in ``benchmarks/results/growth.json``;
``python -m benchmarks.tables`` puts them into the documentation.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from itertools import product
from pathlib import Path

import torch
from torch import nn

from benchmarks.harness import markdown_table, watched
from spatial_lstm import SpatialLSTM, reference
from spatial_lstm.engine import compute
from spatial_lstm.engine.compute import Options
from spatial_lstm.engine.kernels import STATES
from spatial_lstm.engine.tensors import Tensors
from spatial_lstm.files import write_atomically

HIDDEN = 32
SIDES = (64, 128, 256)
RESULTS = Path(__file__).parent / "results" / "growth.json"


def uniform(bound: float) -> Callable[[SpatialLSTM], None]:
    """Draw every parameter, biases too, from U(-bound, bound)."""

    def draw(layer: SpatialLSTM) -> None:
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    return draw


INITIALIZATIONS: dict[str, Callable[[SpatialLSTM], None]] = {
    "default": lambda layer: layer.reset_parameters(),
    "as `nn.LSTM`: U(±1/√h)": uniform(1 / math.sqrt(HIDDEN)),
    "U(±0.08)": uniform(0.08),
}


def largest_cell_state(cell: str, draw: Callable[[SpatialLSTM], None], side: int, seed: int) -> float:
    """The largest |c| anywhere, read from the table of c that the forward keeps for its backward."""
    torch.manual_seed(seed)
    layer = SpatialLSTM(3, HIDDEN, cell=cell, dtype=torch.float64)
    draw(layer)
    image = torch.randn(1, side, side, 3, dtype=torch.float64)
    weights = [getattr(layer, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias")]
    with torch.no_grad():
        _, _, _, c, _ = compute.forward(Tensors(image, *weights), Options(None, "ff", cell, "auto"), STATES)
    if c is None:
        raise AssertionError("expected the table of c to be kept")
    return float(c.abs().max())


def table(figures: dict[str, dict[str, dict[str, list[float]]]]) -> str:
    """Markdown, one row per cell and initialization."""
    rows = [
        [f"`{cell}`", name, *(f"{min(found):.2g} .. {max(found):.2g}" for found in sides.values())]
        for cell, initializations in figures.items()
        for name, sides in initializations.items()
    ]
    return markdown_table(["cell", "weights", *(f"{side}x{side}" for side in SIDES)], rows, left=2)


def section(hidden: int, figures: dict[str, dict[str, dict[str, list[float]]]]) -> str:
    """The table with what was measured above it."""
    seeds = len(next(iter(next(iter(next(iter(figures.values())).values())).values())))
    what = f"Largest |c| on standard normal images, {hidden} features, {seeds} seeds"
    return f"{what} (`benchmarks/growth.py`):\n\n{table(figures)}"


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    figures: dict[str, dict[str, dict[str, list[float]]]] = {}
    cases = list(product(reference.CELLS, INITIALIZATIONS, SIDES))
    for cell, name, side in watched(cases, "growth"):
        found = [largest_cell_state(cell, INITIALIZATIONS[name], side, seed) for seed in range(args.seeds)]
        figures.setdefault(cell, {}).setdefault(name, {})[str(side)] = found
    text = json.dumps({"hidden_size": HIDDEN, "largest_c": figures}, indent=1) + "\n"
    write_atomically(RESULTS, lambda file: file.write(text.encode()))
    print(table(figures))


if __name__ == "__main__":
    main()
