"""How large c gets with the size of the image, from ``benchmarks/results/growth.json``."""

from __future__ import annotations

import json
from pathlib import Path

from spatial_lstm.files import write_atomically

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "growth.json"


def save(path: Path) -> None:
    """A panel for each way to draw the weights, a line for each cell, the largest of the seeds."""
    import matplotlib
    from matplotlib.figure import Figure

    figures = json.loads(RESULTS.read_text())["largest_c"]
    matplotlib.rcParams["svg.hashsalt"] = "growth"  # the same picture has the same bytes
    figure = Figure(figsize=(8, 2.9), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for panel, name in zip(panels, next(iter(figures.values())), strict=True):
        for marker, (cell, initializations) in zip("os^D", figures.items(), strict=True):
            found = initializations[name]
            sides = [int(side) for side in found]
            panel.plot(sides, [max(values) for values in found.values()], marker=marker, label=cell)
        panel.set(xscale="log", yscale="log", title=name.replace("`", ""), xlabel="side of the image")
        panel.set_xticks(sides, [str(side) for side in sides], minor=False)
        panel.minorticks_off()
        panel.axhline(3.4e38, color="crimson", linewidth=0.8, linestyle=":")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("largest |c|")
    panels[0].text(64, 1e40, "float32 ends here", color="crimson", fontsize=7)
    panels[0].legend(fontsize=8)
    write_atomically(path, lambda file: figure.savefig(file, format="svg", metadata={"Date": None}))
