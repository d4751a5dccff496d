"""A line cut out of its page: straightened along its baseline, and nothing but what lies in its polygon.

A column of the cut-out is a stretch of the page at a right angle to the baseline, columns are a pixel apart along it. What lies outside of
the polygon gets the gray of the line's paper, the median of what lies inside.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spatial_lstm.handwriting.data.outline import Outline, Points
from spatial_lstm.handwriting.data.pictures import Gray
from spatial_lstm.handwriting.data.report import Refusal
from spatial_lstm.handwriting.data.straighten import Frame, frame

Mask = NDArray[np.bool_]
# Columns that are taken to be parallel: the curve is followed in pieces of this many pixels.
PIECE = 16


def cut(page: Gray, outline: Outline) -> Gray:
    """The gray values of a line, ``(height, width)`` in the page's resolution.

    Args:
        page: Gray values of the page, ``(height, width)``.
        outline: With a polygon. Without a baseline the line is the polygon's box. With a band it is as high as that, and its baseline is
            in the row of the band's first number.

    Raises:
        ValueError: If there is no polygon.
        Refusal: If the polygon encloses nothing of the page.
    """
    if outline.polygon is None:
        raise ValueError("expected an outline with a polygon, got none")
    mask, (x, y) = _rasterize(outline.polygon, page.shape[1], page.shape[0])
    pixels = page[y : y + mask.shape[0], x : x + mask.shape[1]]
    if mask.any() and outline.baseline is not None:
        axes = frame(outline, page.shape[1], page.shape[0])
        pixels, mask = _straightened(pixels, mask, axes, np.array([x, y]), outline.band)
    if not mask.any():
        raise Refusal("outside of the page", "the polygon encloses no pixel of it")
    columns = np.flatnonzero(mask.any(0))
    within = slice(columns[0], columns[-1] + 1)
    pixels, mask = pixels[:, within], mask[:, within]
    return np.where(mask, pixels, _median(pixels[mask]))


def _median(gray: Gray) -> np.uint8:
    """By counting, which for levels of 256 is faster than sorting."""
    return np.uint8(np.searchsorted(np.bincount(gray, minlength=256).cumsum(), (len(gray) + 1) // 2))


def _rasterize(polygon: Points, width: int, height: int) -> tuple[Mask, tuple[int, int]]:
    """Which pixels of the polygon's box on the page lie inside, and the x and y of the box's upper left pixel."""
    from PIL import Image, ImageDraw

    low = np.floor(polygon.min(0)).clip(0, [width, height]).astype(int)
    high = (np.ceil(polygon.max(0)) + 1).clip(0, [width, height]).astype(int)
    columns, rows = (high - low).clip(0)
    mask = Image.new("L", (int(columns), int(rows)))
    if columns and rows:
        ImageDraw.Draw(mask).polygon([(x, y) for x, y in polygon - low], fill=1)
    return np.asarray(mask, dtype=bool), (int(low[0]), int(low[1]))


def _straightened(
    pixels: Gray, mask: Mask, axes: Frame, origin: NDArray[np.int64], band: tuple[float, float] | None
) -> tuple[Gray, Mask]:
    """Pixels and mask of the polygon's box, which begins at ``origin``, along the line's axes."""
    from PIL import Image

    above, below = band or (_up(axes.above), _up(axes.below) + 1)
    height, width = max(1, round(above + below)), len(axes.curve)
    # Pillow's pixel 0 reaches from 0 to 1, the outlines' from -0.5 to 0.5
    corners = [*range(0, width, PIECE), width]
    curve, down = (_between(points, np.array(corners) - 0.5) for points in (axes.curve - origin, axes.down))
    top = curve - (above + 0.5) * down + 0.5
    bottom = top + height * down
    mesh = [
        ((corners[k], 0, corners[k + 1], height), (*top[k], *bottom[k], *bottom[k + 1], *top[k + 1]))
        for k in range(len(corners) - 1)
    ]
    gray, inside = (
        Image.fromarray(source).transform((width, height), Image.Transform.MESH, mesh, method)
        for source, method in ((pixels, Image.Resampling.BILINEAR), (mask.view(np.uint8), Image.Resampling.NEAREST))
    )
    return np.asarray(gray), np.asarray(inside, dtype=bool)


def _between(points: Points, at: NDArray[np.float64]) -> Points:
    """Points of a curve at fractions of its index, up to 1 beyond its ends."""
    longer = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    index = np.arange(-1, len(points) + 1)
    return np.stack([np.interp(at, index, longer[:, axis]) for axis in (0, 1)], axis=1)


def _up(distance: float) -> float:
    """The next whole number, whatever the last bits, which differ between machines."""
    return float(np.ceil(round(distance, 6)))
