"""The way along a line: its baseline in steps of a pixel, which way is down, and how far its polygon reaches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spatial_lstm.handwriting.data.outline import SAMPLES, Outline, Points, along, length


@dataclass(frozen=True, eq=False)
class Frame:
    """The axes of a straightened line.

    Attributes:
        curve: Where on the page its columns meet the baseline, ``(width, 2)``.
        down: Unit vectors at a right angle to it, toward the line below, ``(width, 2)``.
        above: How many pixels the polygon reaches above the baseline; negative where it stays below it.
        below: How many below it.
    """

    curve: Points
    down: Points
    above: float
    below: float


def frame(outline: Outline, width: int, height: int) -> Frame:
    """The axes of a line on a page of this size.

    The baseline's corners are rounded over about the height of the line, and it is lengthened at both ends as far as the polygon reaches
    beyond it. A baseline that runs to the left above its polygon was drawn from the wrong end and is turned; one that runs to the left
    below it has text that is upside down.

    Raises:
        ValueError: If the outline has no baseline or no polygon.
    """
    if outline.baseline is None or outline.polygon is None:
        raise ValueError("expected an outline with a baseline and a polygon, got one without")
    corners = outline.polygon.clip(0, [width - 1, height - 1])
    edge = np.concatenate([corners, along(np.concatenate([corners, corners[:1]]), SAMPLES)])
    baseline = outline.baseline[::-1] if _is_backward(outline.baseline, edge) else outline.baseline
    curve = _curve(baseline, edge, _area(corners))
    down = _right_angles(curve)
    nearest = _nearest(edge, curve)
    depth = ((edge - curve[nearest]) * down[nearest]).sum(1)
    return Frame(curve, down, float(-depth.min()), float(depth.max()))


def _is_backward(baseline: Points, edge: Points) -> bool:
    x, y = baseline[-1] - baseline[0]
    side = (edge.mean(0) - baseline.mean(0)) @ np.array([-y, x])
    return bool(x < 0 and side > 0)


def _curve(baseline: Points, edge: Points, area: float) -> Points:
    """The baseline smoothed and lengthened; ``area`` is the polygon's."""
    path = along(baseline, max(2, round(length(baseline)) + 1))
    half = max(1, round(area / len(path)) // 2)
    head = _unit(path[min(half, len(path) - 1)] - path[0])
    tail = _unit(path[-1] - path[max(-1 - half, -len(path))])
    nearest = _nearest(edge, path)
    before = ((path[0] - edge) @ head)[nearest == 0].max(initial=0)
    after = ((edge - path[-1]) @ tail)[nearest == len(path) - 1].max(initial=0)
    ahead = np.arange(int(np.ceil(before)) + half, 0, -1)[:, None]
    behind = np.arange(1, int(np.ceil(after)) + half + 1)[:, None]
    longer = np.concatenate([path[0] - head * ahead, path, path[-1] + tail * behind])
    kernel = np.full(2 * half + 1, 1 / (2 * half + 1))
    return np.stack([np.convolve(longer[:, axis], kernel, "valid") for axis in (0, 1)], axis=1)


def _right_angles(curve: Points) -> Points:
    x, y = np.gradient(curve, axis=0).T
    return _unit(np.stack([-y, x], axis=1))


def _unit(vectors: Points) -> Points:
    unit: Points = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
    return unit


def _nearest(points: Points, path: Points) -> NDArray[np.int64]:
    """For each point the index of the path's point that is nearest to it, of a few hundred along the path and its two ends."""
    some = np.linspace(0, len(path) - 1, min(len(path), SAMPLES)).astype(np.int64)
    squares = np.square(path[some]).sum(1) - 2 * points @ path[some].T  # less each point's own square
    nearest: NDArray[np.int64] = some[squares.argmin(1)]
    return nearest


def _area(polygon: Points) -> float:
    x, y = polygon.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
