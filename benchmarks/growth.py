"""How large the cell state gets: for each cell, with three ways to draw the weights, on standard normal images of growing size.

    python benchmarks/growth.py [--readme README.md]

Prints the largest |c| over all sites, smallest and largest of the seeds, and keeps the figures in ``benchmarks/results/growth.json``.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from spatial_lstm import SpatialLSTM
from spatial_lstm.engine.compute import Options
from spatial_lstm.engine.kernels import STATES
from spatial_lstm.engine.router import run_operator
from spatial_lstm.engine.tensors import Tensors

HIDDEN = 32
SIDES = (64, 128, 256)
CELLS = ("spatial", "graves", "stable")
RESULTS = Path(__file__).parent / "results" / "growth.json"
MARKERS = ("<!-- growth:begin -->", "<!-- growth:end -->")


def uniform(bound: float) -> Callable[[SpatialLSTM], None]:
    """Draw every parameter, biases too, from U(-bound, bound)."""

    def draw(layer: SpatialLSTM) -> None:
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    return draw


INITIALISATIONS: dict[str, Callable[[SpatialLSTM], None]] = {
    "default": lambda layer: layer.reset_parameters(),
    "as `nn.LSTM`: U(±1/√h)": uniform(1 / math.sqrt(HIDDEN)),
    "U(±0.08)": uniform(0.08),
}


def largest_cell_state(cell: str, draw: Callable[[SpatialLSTM], None], side: int, seed: int) -> float:
    """The largest |c| anywhere, read from the table of c that the operator keeps for its backward."""
    torch.manual_seed(seed)
    layer = SpatialLSTM(3, HIDDEN, cell=cell, dtype=torch.float64)
    draw(layer)
    image = torch.randn(1, side, side, 3, dtype=torch.float64)
    weights = [getattr(layer, f"{name}_l0").unsqueeze(0) for name in ("weight_ih", "weight_hh", "bias")]
    with torch.no_grad():
        results = run_operator(Tensors(image, *weights), Options(None, "ff", cell, "auto"), STATES)
    return float(results[3].abs().max())


def table(figures: dict[str, dict[str, dict[str, list[float]]]]) -> str:
    """Markdown, one row per cell and initialisation."""
    lines = [
        "| cell | weights | " + " | ".join(f"{side}x{side}" for side in SIDES) + " |",
        "| --- | --- |" + " ---: |" * len(SIDES),
    ]
    for cell, rows in figures.items():
        for name, sides in rows.items():
            cells = [f"{min(found):.2g} .. {max(found):.2g}" for found in sides.values()]
            lines.append(f"| `{cell}` | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--readme", type=Path, help="write the table between its markers")
    args = parser.parse_args()
    figures: dict[str, dict[str, dict[str, list[float]]]] = {}
    with tqdm(total=len(CELLS) * len(INITIALISATIONS) * len(SIDES) * args.seeds) as bar:
        for cell in CELLS:
            for name, draw in INITIALISATIONS.items():
                for side in SIDES:
                    found = figures.setdefault(cell, {}).setdefault(name, {}).setdefault(str(side), [])
                    for seed in range(args.seeds):
                        found.append(largest_cell_state(cell, draw, side, seed))
                        bar.update()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"hidden_size": HIDDEN, "largest_c": figures}, indent=1) + "\n")
    print(table(figures))
    if args.readme:
        head, rest = args.readme.read_text().split(MARKERS[0])
        caption = (
            f"Largest |c| on standard normal images, {HIDDEN} features, {args.seeds} seeds (`benchmarks/growth.py`):"
        )
        body = f"{MARKERS[0]}\n{caption}\n\n{table(figures)}\n{MARKERS[1]}"
        args.readme.write_text(head + body + rest.split(MARKERS[1])[1])


if __name__ == "__main__":
    main()
