"""Pictures of lines: with what was read in them, and as augmentation changes them. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spatial_lstm.files import write_atomically
from spatial_lstm.handwriting.data import Lines
from spatial_lstm.handwriting.data.pictures import Gray, normalize
from spatial_lstm.handwriting.training.augmentation import Augmentation

# Inches.
WIDTH, ROW = 11.0, 0.75


def draw_readings(path: Path, lines: Lines, texts: Sequence[str], title: str = "") -> None:
    """Draw lines, each with what is written in it and below that with what was read.

    Args:
        path: Of the PNG file.
        lines: With texts.
        texts: What was read.
        title: Over all.
    """
    figure, rows = _sheet(len(lines), 1, 1.6 * ROW, title)
    for axes, line, read in zip(rows, lines, texts, strict=True):
        _show(axes[0], line.image())
        right = line.text == read
        told = f"written  {line.text}\nread       {read}"
        axes[0].set_title(told, loc="left", fontsize=9, color="black" if right else "#a03000", parse_math=False)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=110))


def draw_augmented(
    path: Path, lines: Lines, augmentation: Augmentation, *, height: int, views: int = 3, seed: int = 0
) -> None:
    """Draw lines, each as it is and below that several times as training sees it.

    Args:
        path: Of the PNG file.
        lines: Any.
        augmentation: What is done to them.
        height: Of the network's input, pixels.
        views: How many each.
        seed: Of what is drawn.
    """
    figure, rows = _sheet(len(lines), 1 + views, ROW, f"as they are, and {augmentation}")
    for place, (axes, line) in enumerate(zip(rows, lines, strict=True)):
        image = normalize(line.image(height), height)
        changed = [augmentation(image, np.random.default_rng((seed, place, view))) for view in range(views)]
        for own, picture in zip(axes, [image, *changed], strict=True):
            _show(own, (255 * (1 - picture[0].numpy())).astype(np.uint8))
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=110))


def _sheet(groups: int, each: int, row: float, title: str) -> tuple[Any, list[list[Any]]]:
    """A figure, and its axes in groups."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, row * groups * each + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=9)
    grid = figure.subplots(groups * each, 1, squeeze=False)[:, 0].tolist()
    return figure, [grid[start : start + each] for start in range(0, len(grid), each)]


def _show(axes: Any, image: Gray) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
    axes.set_anchor("W")
    axes.axis("off")
