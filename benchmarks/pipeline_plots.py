"""Pictures of a field over processes: who computed which block when, and what many processes would gain."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.harness import Row
from benchmarks.pipeline_model import HEADINGS, walk

COLORS = {"ff": "C0", "fr": "C1", "rf": "C2", "rr": "C3"}
NAMES = ("ff", "rf", "fr", "rr")  # as walk numbers the directions: two down the chain, two up


def plot_pipeline(results: dict[str, Any]) -> Figure:
    """Two processes as they were, the schedule of eight, and predicted efficiency against the number of processes."""
    rows = results["rows"]
    figure = Figure(figsize=(10.5, 7.5), layout="constrained")
    traced, walked, weak, strong = _panels(figure)
    _plot_trace(traced, [row for row in rows if row["kind"] == "trace"])
    _plot_walk(walked)
    for panel, series in ((weak, "weak"), (strong, "strong")):
        _plot_efficiency(panel, [row for row in rows if row["kind"] == "prediction" and row["series"] == series])
        panel.set(title=f"{series} scaling, predicted", xlabel="processes", ylabel="efficiency")
    return figure


def _panels(figure: Figure) -> tuple[Axes, Axes, Axes, Axes]:
    grid = figure.add_gridspec(3, 2, height_ratios=[1, 2, 2])
    return (
        figure.add_subplot(grid[0, :]),
        figure.add_subplot(grid[1, :]),
        figure.add_subplot(grid[2, 0]),
        figure.add_subplot(grid[2, 1]),
    )


def _plot_trace(panel: Axes, rows: list[Row]) -> None:
    """Each block's time on each rank; darker forward, lighter backward; the number is the block's."""
    for row in rows:
        if row["doing"] == "compute":
            alpha = 0.45 if row["backward"] else 0.95
            box = [(row["start"] * 1e3, row["seconds"] * 1e3)]
            panel.broken_barh(box, (row["rank"] - 0.42, 0.84), facecolor=COLORS[row["direction"]], alpha=alpha, lw=0)
    ranks = sorted({row["rank"] for row in rows})
    panel.set_yticks(ranks, [f"rank {rank}" for rank in ranks])
    panel.invert_yaxis()
    panel.set(
        xlabel="milliseconds", title="four directions over two processes, a training step as traced (backward pale)"
    )


def _plot_walk(panel: Axes) -> None:
    """Eight places, four directions of eight blocks, a forward pass in units of a block's time."""
    for span in walk(HEADINGS["four directions"], 8, 8, 1.0, 0.02):
        name = NAMES[span.item.direction]
        box = [(span.start, span.end - span.start)]
        panel.broken_barh(box, (span.place - 0.42, 0.84), facecolor=COLORS[name], edgecolor="white", lw=0.4)
        panel.text(
            (span.start + span.end) / 2, span.place, str(span.item.turn + 1), ha="center", va="center", fontsize=6
        )
    for name, color in COLORS.items():
        panel.broken_barh([(0, 0)], (0, 0), facecolor=color, label=name)
    panel.legend(loc="center right", title="direction")
    panel.set_yticks(range(8), [f"rank {place}" for place in range(8)])
    panel.invert_yaxis()
    panel.set(
        xlabel="blocks' times",
        title="the schedule for eight ranks, a forward pass; numbers count each direction's blocks",
    )


def _plot_efficiency(panel: Axes, rows: list[Row]) -> None:
    for name in HEADINGS:
        own = [row for row in rows if row["directions"] == name]
        panel.plot([row["places"] for row in own], [row["efficiency"] for row in own], "o-", ms=4, label=name)
    panel.set_xscale("log", base=2)
    ticks = sorted({row["places"] for row in rows})
    panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    panel.set_ylim(0, 1)
    panel.legend()
