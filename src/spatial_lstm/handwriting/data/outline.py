"""Where a line lies on its page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spatial_lstm.handwriting.data.report import Refusal

# (n, 2): x to the right, y downward, in pixels of the page's image.
Points = NDArray[np.float64]
# Lines drawn by hand or by a segmenter have tens to hundreds.
MOST_POINTS = 10_000
# Points along a path that are looked at: of a baseline, and of a polygon's edge besides its corners.
SAMPLES = 256
# A polygon that is nowhere as thick as this, in pixels, has no writing in it.
THINNEST = 3
# How much of a baseline has to lie near its polygon, no farther off than this is high.
NEAR = 0.5
# Rows and columns of the raster on which two outlines are compared.
CELLS = 64
# How much of an outline may lie beyond the page's edge, where it is cut off: a little is how people draw, much is another page's outline.
OUTSIDE = 0.25


@dataclass(frozen=True, eq=False)
class Outline:
    """Where a line lies.

    Attributes:
        baseline: In the direction of reading; None where it is not known.
        polygon: What lies outside of it is not the line's; None where it is not known. Not both are None.
        band: How many pixels above and below its baseline a line is cut; None: as far as the polygon reaches.
    """

    baseline: Points | None
    polygon: Points | None
    band: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.baseline is None and self.polygon is None:
            raise Refusal("no outline", "neither baseline nor polygon nor box")

    def scaled(self, x: float, y: float) -> Outline:
        """The same in another unit; without a band."""
        factor = np.array([x, y])
        return Outline(*(None if points is None else points * factor for points in (self.baseline, self.polygon)))

    def reduced(self, factor: int) -> Outline:
        """The same on a picture of which each pixel is the mean of ``factor`` by ``factor``."""
        baseline, polygon = (
            None if points is None else (points + 0.5) / factor - 0.5 for points in (self.baseline, self.polygon)
        )
        above, below = self.band or (0.0, 0.0)
        band = ((above + 0.5) / factor - 0.5, (below - 0.5) / factor + 0.5)
        return Outline(baseline, polygon, self.band and band)

    def height(self) -> float:
        """How high it is cut, about, in pixels."""
        if self.band is not None:
            return sum(self.band)
        return 0.0 if self.polygon is None else float(np.ptp(self.polygon[:, 1]))


def parse_points(text: str) -> Points:
    """Points as ALTO and PAGE write them: ``x,y x,y`` or ``x y x y``.

    Raises:
        Refusal: If these are not pairs of finite numbers, or too many.
    """
    parts = text.replace(",", " ").split()
    if len(parts) % 2:
        raise Refusal("broken points", f"expected an even number of coordinates, got {len(parts)}")
    if len(parts) > 2 * MOST_POINTS:
        raise Refusal("broken points", f"expected at most {MOST_POINTS} points, got {len(parts) // 2}")
    try:
        points = np.array([float(part) for part in parts]).reshape(-1, 2)
    except ValueError as error:
        raise Refusal("broken points", str(error)) from error
    if not np.isfinite(points).all():
        raise Refusal("broken points", "expected finite numbers")
    return points


def parse_baseline(text: str) -> Points:
    """A baseline that leads somewhere.

    Raises:
        Refusal: If it has no point, one, or several in the same place.
    """
    points = parse_points(text)
    if len(points) == 0:
        raise Refusal("empty baseline")
    if len(points) == 1 or bool((points == points[0]).all()):
        raise Refusal("baseline of one point", text.strip()[:60])
    return points


def parse_polygon(text: str) -> Points | None:
    """A polygon, or None where there are no points.

    Raises:
        Refusal: If it has fewer than three.
    """
    points = parse_points(text)
    if len(points) == 0:
        return None
    if len(points) < 3:
        raise Refusal("broken points", f"expected a polygon of at least 3 points, got {len(points)}")
    return points


def box(x: float, y: float, width: float, height: float) -> Points:
    """A rectangle's corners."""
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])


def length(baseline: Points) -> float:
    """From the first point to the last, along the way."""
    return float(np.linalg.norm(np.diff(baseline, axis=0), axis=1).sum())


def along(path: Points, count: int) -> Points:
    """Points at equal distances on a path of straight pieces, from its first to its last, ``(count, 2)``."""
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    way = np.concatenate([[0], steps.cumsum()])
    at = np.linspace(0, way[-1], count)
    return np.stack([np.interp(at, way, path[:, axis]) for axis in (0, 1)], axis=1)


def overlap(one: Outline, other: Outline) -> float:
    """How much of what two polygons of one picture cover together both cover, about: 1 of the same, 0 of those apart.

    Raises:
        ValueError: If an outline has no polygon.
    """
    from PIL import Image, ImageDraw

    paths = [path for path in (one.polygon, other.polygon) if path is not None]
    if len(paths) < 2:
        raise ValueError(f"expected two outlines with polygons, got {len(paths)}")
    low = np.minimum(*(path.min(0) for path in paths))
    extent = np.maximum(*(path.max(0) for path in paths)) - low
    covered = []
    for path in paths:
        mask = Image.new("1", (CELLS, CELLS))
        ImageDraw.Draw(mask).polygon([(x, y) for x, y in (path - low) / extent * (CELLS - 1)], fill=1)
        covered.append(np.asarray(mask))
    return float((covered[0] & covered[1]).sum() / (covered[0] | covered[1]).sum())


def check_on_page(outline: Outline, width: int, height: int) -> None:
    """Refuse what belongs to another page, and what is no line.

    Raises:
        Refusal: If a quarter of the baseline's or polygon's extent lies outside, the polygon is a stroke, or the baseline runs to and fro
            or away from its polygon.
    """
    for name, points in (("baseline", outline.baseline), ("polygon", outline.polygon)):
        if points is not None and (share := _outside(points, width, height)) > OUTSIDE:
            (left, top), (right, bottom) = points.min(0), points.max(0)
            where = f"x {left:.6g} to {right:.6g}, y {top:.6g} to {bottom:.6g}, page {width}x{height}"
            raise Refusal("outside of the page", f"{share:.0%} of the {name}: {where}")
    if outline.polygon is not None and (thickness := _thickness(outline.polygon)) < THINNEST:
        raise Refusal("too small", f"a polygon of {thickness:.3g} pixels across")
    if (
        outline.baseline is not None
        and length(outline.baseline) > 2 * (extent := np.ptp(outline.baseline, axis=0)).sum()
    ):
        told = f"baseline of {length(outline.baseline):.0f} pixels in an area of {extent[0]:.0f}x{extent[1]:.0f}"
        raise Refusal("baseline to and fro", told)
    if outline.baseline is not None and outline.polygon is not None:
        _check_near(outline.baseline, outline.polygon)


def _thickness(polygon: Points) -> float:
    """How far a polygon reaches at a right angle to where it reaches farthest, about."""
    centered = polygon - polygon.mean(0)
    return float(np.ptp(centered @ np.linalg.svd(centered, full_matrices=False)[2][-1]))


def _check_near(baseline: Points, polygon: Points) -> None:
    """Refuse a baseline of which less than half lies about its polygon: what is cut along it would not be the line."""
    low, high = polygon.min(0), polygon.max(0)
    around = (high - low).min()
    some = along(baseline, SAMPLES)
    if ((some >= low - around) & (some <= high + around)).all(1).mean() < NEAR:
        told = ", ".join(
            f"{name} from {_place(points[0])}" for name, points in (("baseline", baseline), ("polygon", polygon))
        )
        raise Refusal("baseline away from its polygon", told)


def _place(point: Points) -> str:
    return f"{point[0]:.6g},{point[1]:.6g}"


def _outside(points: Points, width: int, height: int) -> float:
    """The share of the points' bounding box that lies outside of the page; along an axis where it has no extent, all of it or nothing."""
    low, high = points.min(0), points.max(0)
    inside = np.minimum(high, [width, height]) - np.maximum(low, 0)
    extent = high - low
    shares = np.where(extent > 0, inside / np.where(extent > 0, extent, 1), inside >= 0).clip(0)
    return 1 - float(np.prod(shares))
