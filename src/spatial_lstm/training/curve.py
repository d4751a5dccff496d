"""A picture of a run's scores over its steps. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from spatial_lstm.files import write_atomically

Line = Mapping[str, Any]
# The scores of the first steps would press all others into one line: those of so much of the run may lie outside of the picture.
BEGINNING = {"linear": 0.1, "log": 0.01}
# Of the last scored step to the first, from where on steps are drawn logarithmically: most is gained in the beginning.
LONG = 100
# Points of a line from where on they are not marked.
MANY = 100


def learning_curve(path: Path, metrics: Sequence[Line], score: str) -> None:
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
            axes.plot(*zip(*points, strict=True), marker="." if len(points) < MANY else None, label=name)
    for phase in dict.fromkeys(line["phase"] for line in metrics if line["phase"] != "steps"):
        after = [(line["step"], line["validation"]) for line in metrics if line["phase"] == phase]
        axes.plot(*zip(*after, strict=True), "k^", label=f"after {phase}")
    for before, line in pairwise(metrics):
        if line["stage"] != before["stage"]:
            axes.axvline(before["step"], color="0.7", linewidth=1, linestyle=":")
    scale = "log" if metrics[-1]["step"] >= LONG * metrics[0]["step"] > 0 else "linear"
    axes.set(xlabel="step", ylabel=score, xscale=scale, ylim=limits(metrics, BEGINNING[scale]))
    axes.grid(alpha=0.3)
    axes.legend()
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=120))


def limits(metrics: Sequence[Line], beginning: float) -> tuple[float, float]:
    """Between which scores a picture shows all of both lines, but for the ``beginning``, a fraction of the steps; and a margin."""
    shown = [line for line in metrics if line["step"] >= beginning * metrics[-1]["step"]]
    scores = [line[name] for line in shown for name in ("train", "validation") if line[name] is not None]
    margin = 0.05 * (max(scores) - min(scores)) + 1e-3
    return min(scores) - margin, max(scores) + margin
