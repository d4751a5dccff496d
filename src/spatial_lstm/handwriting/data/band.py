"""How high a page's lines are cut, so that its writing has one size and its baselines one row.

A polygon's height says little of the size of the writing: one long descender, or a corner drawn carelessly, and the line would be shrunk.
So the lines of a page share one band about the baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spatial_lstm.handwriting.data.outline import Outline, Points, length
from spatial_lstm.handwriting.data.straighten import frame

# The share of a page's lines whose polygons end within the band; on pages with a few large ones.
SHARE = 0.8
# A line that reaches less or more above its baseline than these, in units of the page's, is written in another size.
SMALLER, LARGER = 0.6, 1.25
# On pages without any polygon: how far a line reaches above and below its baseline, in units of the distance from one line to the next,
# and that distance where no other line tells it, in units of the page's height and of the baseline's length.
ABOVE, BELOW = 0.75, 0.3
SPACING_OF_PAGE, SPACING_OF_LENGTH = 1 / 25, 1 / 4
# Baselines closer than this, in pixels, are one line's, and no band is lower.
NEAREST = 8.0


def with_bands(outlines: Sequence[Outline], width: int, height: int) -> list[Outline]:
    """The outlines of one page, of this size, each with a baseline given its band, and a polygon where it had none.

    The band reaches as far above and below the baseline as the polygons of four fifths of the page's lines do. A line that on the farther
    side reaches less than 0.6 or more than 1.25 times as far has that band in its own size. Lines without a baseline are left as they are.
    """
    extents = [_extent(outline, width, height) for outline in outlines]
    known = np.array([extent for extent in extents if extent is not None])
    usual = np.rint(np.quantile(known, SHARE, axis=0, method="lower")) if len(known) else None
    baselines = [outline.baseline for outline in outlines if outline.baseline is not None]
    found = []
    for outline, extent in zip(outlines, extents, strict=True):
        if outline.baseline is None:
            found.append(outline)
        elif extent is None or usual is None:
            apart = _spacing(baselines, outline.baseline, height)
            above, below = (ABOVE * apart, BELOW * apart) if usual is None else usual
            polygon = _around(outline.baseline, above, below)
            found.append(replace(outline, polygon=polygon, band=(float(above), float(below))))
        else:
            side = int(usual.argmax())
            ratio = extent[side] / max(usual[side], 1e-9)
            above, below = np.rint(usual * (1 if SMALLER <= ratio <= LARGER else ratio))
            found.append(replace(outline, band=(float(above), float(below))))
    return found


def _extent(outline: Outline, width: int, height: int) -> tuple[float, float] | None:
    """How far the polygon reaches above and below the baseline, 0 or more; None where there are not both."""
    if outline.baseline is None or outline.polygon is None:
        return None
    axes = frame(outline, width, height)
    return max(0.0, axes.above), max(0.0, axes.below)


def _spacing(baselines: Sequence[Points], of: Points, page_height: int) -> float:
    """How far the lines are apart near one of them, in pixels.

    The distance to the nearest other baseline above or below it, at most two 25ths of the page's height; of a line alone, a 25th or a
    quarter of its length, whichever is less. At least 8 pixels.
    """
    left, right = of[:, 0].min(), of[:, 0].max()
    near = [other for other in baselines if other[:, 0].min() < right and other[:, 0].max() > left]
    away = [abs(float(other[:, 1].mean() - of[:, 1].mean())) for other in near]
    page = page_height * SPACING_OF_PAGE
    apart = min((distance for distance in away if distance >= NEAREST), default=None)
    return max(NEAREST, min(page, length(of) * SPACING_OF_LENGTH) if apart is None else min(apart, 2 * page))


def _around(baseline: Points, above: float, below: float) -> Points:
    """The polygon that reaches so far above and below a baseline."""
    along = np.gradient(baseline, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    down = np.stack([-along[:, 1], along[:, 0]], axis=1)
    return np.concatenate([baseline - above * down, (baseline + below * down)[::-1]])
