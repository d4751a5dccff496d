"""Pictures of the figures, from the JSON alone: ``python -m benchmarks.plots``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from benchmarks.harness import Row, number, read_results, settings_from
from benchmarks.layer import ratios
from benchmarks.pipeline_plots import plot_pipeline
from benchmarks.scaling import curves_of, left_out, over_one_direction
from spatial_lstm.files import write_atomically

STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.alpha": 0.3,
    "font.size": 9,
    "legend.frameon": False,
}
COLORS = {"cpp": "C3", "triton": "C2", "plain": "C0", "composite": "C1", "nn.LSTM": "0.35", "site loop": "C5"}
MARKS = {"nn.LSTM": "D", "site loop": "v", "composite": "s"}
PANELS = {
    "sites": "sites of one image",
    "batch": "images",
    "hidden size": "hidden size",
    "axes": "axes, 16,384 sites",
}


def _look(name: str) -> dict[str, Any]:
    """Mark and color, the same in every picture; hollow where the gates are recomputed, gray where they are saved in 16 bits."""
    base, _, mode = name.partition(", ")
    color = COLORS.get(base, f"C{4 + sum(map(ord, base)) % 6}")
    return {
        "marker": MARKS.get(base, "o"),
        "color": color,
        "markerfacecolor": {"": color, "recompute": "white"}.get(mode, "lightgray"),
    }


def _plain_numbers(axis: Axis) -> None:
    """Label 1, 2, 5, 10 .. of a logarithmic axis, written out; powers of ten alone where there are many."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value).removesuffix(".00").removesuffix(".0")))
    axis.set_minor_locator(NullLocator())


def plot_layer(results: dict[str, Any]) -> Figure:
    """Times the floor, a panel for each mode and number of threads, a dot with its quartiles for each contestant and size."""
    groups = list(dict.fromkeys((row["mode"], row["threads"]) for row in results["rows"]))
    names = list(dict.fromkeys(name for row in results["rows"] for name in ratios(row)))
    columns = min(2, len(groups))
    lines = -(-len(groups) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.2 * lines + 0.8), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for panel, (mode, threads) in zip(panels.flat, groups, strict=True):
        rows = [row for row in results["rows"] if (row["mode"], row["threads"]) == (mode, threads)]
        _plot_ratios(panel, rows, names)
        panel.set_title(f"{mode}, {threads} thread{'' if threads == 1 else 's'}")
    for panel in panels[:, 0]:
        panel.set_ylabel("time over the floor's")
    _plain_numbers(panels[0, 0].yaxis)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=(len(names) + 2) // 2)
    return figure


def _plot_ratios(panel: Axes, rows: list[Row], names: Sequence[str]) -> None:
    for place, name in enumerate(names):
        shift = (place - (len(names) - 1) / 2) * 0.7 / len(names)
        found = [(k + shift, ratios(row)[name]) for k, row in enumerate(rows) if name in ratios(row)]
        middle = [f.median for _, f in found]
        bars = [[f.median - f.lower for _, f in found], [f.upper - f.median for _, f in found]]
        panel.errorbar([x for x, _ in found], middle, bars, ls="none", ms=5, label=name, **_look(name))
    panel.axhline(1, color="black", lw=1, label="floor: the matrix products")
    panel.set_yscale("log")
    panel.set_xticks(range(len(rows)), [_short(row["size"]) for row in rows], rotation=35, ha="right")


def plot_scaling(results: dict[str, Any]) -> Figure:
    """Every series on logarithmic axes, linear growth dotted; memory; and four directions beside one."""
    rows = results["rows"]
    figure = Figure(figsize=(10.5, 6.4), layout="constrained")
    panels = list(figure.subplots(2, 3).flat)
    for panel, (series, label) in zip(panels, PANELS.items(), strict=False):
        _plot_curves(panel, curves_of(rows, series), 1e3, linear=series != "axes")
        panel.set(xlabel=label, title="a training step, milliseconds")
    gone = [line.replace("sites: ", "").replace(" (", "\n(") for line in left_out(rows) if line.startswith("sites: ")]
    panels[0].text(0.98, 0.02, "\n".join(gone), transform=panels[0].transAxes, fontsize=6, ha="right", va="bottom")
    _plot_curves(panels[4], curves_of(rows, "memory"), 1e-6, linear=True)
    panels[4].set(xlabel="sites of one image", title="peak memory of a training step, MB")
    _plot_directions(panels[5], over_one_direction(rows))
    handles = {
        label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
    return figure


def _plot_curves(
    panel: Axes, curves: dict[str, tuple[list[float], list[float]]], scale: float, *, linear: bool
) -> None:
    panel.set(xscale="log", yscale="log")
    for name, (x, y) in curves.items():
        panel.plot(x, [value * scale for value in y], ms=4, lw=1.2, label=name, **_look(name))
    if linear and curves:
        x, y = max(curves.values(), key=lambda curve: curve[0][-1])
        ends = [y[-1] * scale * x[0] / x[-1], y[-1] * scale]
        panel.plot([x[0], x[-1]], ends, "k:", lw=0.8, zorder=0, label="linear growth")
    ticks = sorted({value for x, _ in curves.values() for value in x})
    if ticks and ticks[-1] <= 1000:
        panel.xaxis.set_major_locator(FixedLocator(ticks))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.xaxis.set_minor_locator(NullLocator())
    _plain_numbers(panel.yaxis)


def _plot_directions(panel: Axes, found: dict[str, dict[str, float]]) -> None:
    """Four directions over one, a group of bars for each series."""
    names = list(dict.fromkeys(name for group in found.values() for name in group))
    width = 0.8 / max(1, len(names))
    for place, name in enumerate(names):
        shift = (place - (len(names) - 1) / 2) * width
        bars = [(k + shift, group[name]) for k, group in enumerate(found.values()) if name in group]
        panel.bar([x for x, _ in bars], [y for _, y in bars], 0.9 * width, color=_look(name)["color"])
        for x, y in bars:
            panel.text(x, y, f"{y:.1f}", ha="center", va="bottom", fontsize=7)
    panel.axhline(4, color="black", lw=0.8, ls=":")
    panel.set_xticks(range(len(found)), [series.removeprefix("directions, ") for series in found])
    panel.set_title("time of four directions over one")


def _short(size: dict[str, Any]) -> str:
    return f"{size['batch']}x{'x'.join(map(str, size['extents']))}, {size['channels']}→{size['hidden']}"


PLOTS = {"layer": plot_layer, "scaling": plot_scaling, "pipeline": plot_pipeline}


def draw(folder: Path) -> list[Path]:
    """Draw what there are figures for; return the files."""
    files = []
    with mpl.rc_context(STYLE):
        for name, plot in PLOTS.items():
            source = folder / f"{name}.json"
            if source.exists():
                figure = plot(read_results(source))
                files.append(source.with_suffix(".png"))
                write_atomically(files[-1], partial(figure.savefig, format="png", dpi=110))
    return files


if __name__ == "__main__":
    print(*draw(settings_from(None, __doc__).folder), sep="\n")
