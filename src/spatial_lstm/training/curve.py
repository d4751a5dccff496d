"""A picture of a run's scores over its steps. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spatial_lstm.files import write_atomically


def learning_curve(path: Path, metrics: Sequence[Mapping[str, Any]], score: str) -> None:
    """Draw the scores of training and of held-out data over the steps.

    Args:
        path: Of the PNG file.
        metrics: The lines of ``metrics.jsonl``.
        score: What they are, in words.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name in ("train", "validation"):
        points = [(line["step"], line[name]) for line in metrics if line[name] is not None]
        if points:
            axes.plot([p[0] for p in points], [p[1] for p in points], marker=".", label=name)
    for phase in dict.fromkeys(line["phase"] for line in metrics if line["phase"] != "steps"):
        after = [(line["step"], line["validation"]) for line in metrics if line["phase"] == phase]
        axes.plot([p[0] for p in after], [p[1] for p in after], "k^", label=f"after {phase}")
    shown = sorted(line["validation"] for line in metrics)
    if len(shown) > 4:  # the first steps would press all others into one line
        bottom, top = shown[len(shown) // 10], shown[-1]
        axes.set_ylim(bottom - 0.05 * (top - bottom), top + 0.15 * (top - bottom) + 1e-3)
    axes.set(xlabel="step", ylabel=score)
    axes.grid(alpha=0.3)
    axes.legend()
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=120))
