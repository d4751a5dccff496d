"""Lines are cut straight, masked, upright, and one page's lines at one size."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import rotate

from spatial_lstm.handwriting.data.band import with_bands
from spatial_lstm.handwriting.data.cut import cut
from spatial_lstm.handwriting.data.outline import Outline, Points, overlap, parse_points
from spatial_lstm.handwriting.data.pictures import Gray
from spatial_lstm.handwriting.data.report import Refusal
from tests.handwriting import HEIGHT, INK, PAPER, WIDTH, Path2, assert_same_pixels, band, points, scribbled, stroke

PATHS: dict[str, Path2] = {
    "level": [(40, 150), (360, 150)],
    "falling": [(40, 110), (360, 190)],
    "rising": [(40, 200), (180, 150), (360, 86)],
    "upward": [(200, 280), (200, 20)],
    "bent": [(x, 150 + 25 * math.sin(x / 60)) for x in range(40, 361, 8)],
}


def outline(path: Path2, above: float = 30, below: float = 10) -> Outline:
    """A band at a right angle to a path."""
    baseline = np.array(path, dtype=float)
    along = np.gradient(baseline, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    down = np.stack([-along[:, 1], along[:, 0]], axis=1)
    return Outline(baseline, np.concatenate([baseline - above * down, (baseline + below * down)[::-1]]))


def ink_rows(image: Gray) -> Points:
    """Where the ink's middle is in each column, its ends left out."""
    dark = np.maximum(PAPER - image.astype(float), 0)[:, 12:-12]
    return (dark * np.arange(len(dark))[:, None]).sum(0) / dark.sum(0)


@pytest.mark.parametrize("name", PATHS)
def test_ink_along_a_baseline_is_level_in_the_cut(name: str) -> None:
    path = PATHS[name]
    down = outline(path)
    assert down.polygon is not None
    middle = (down.polygon[: len(path)] * 2 + np.array(path)) / 3  # 20 above the baseline
    page = np.asarray(stroke([(x, y) for x, y in middle], above=0))
    line = cut(page, Outline(down.baseline, down.polygon, band=(30, 10)))
    length = sum(math.dist(a, b) for a, b in pairwise(path))
    assert line.shape[0] == 40
    assert abs(line.shape[1] - length) < 8
    rows = ink_rows(line)
    assert np.ptp(rows) < 3  # as wide as the ink
    assert abs(rows.mean() - 10) < 1


def test_a_level_line_is_the_pixels_of_the_page() -> None:
    page = np.asarray(scribbled())
    box = parse_points("40,120 360,120 360,160 40,160")
    line = cut(page, Outline(parse_points("40,150 360,150"), box, band=(30, 10)))
    assert_same_pixels(line, page[120:160, 40:361])


def test_a_turned_page_gives_the_line_of_the_page_that_is_not_turned() -> None:
    level = np.asarray(
        Image.fromarray(np.asarray(scribbled()) // 8 * 8).resize((WIDTH // 8, HEIGHT // 8)).resize((WIDTH, HEIGHT))
    )
    turned = rotate(level, 12, reshape=False, order=1, mode="nearest")
    center, angle = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2]), math.radians(-12)
    matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    straight = outline([(100, 150), (300, 150)])
    assert straight.baseline is not None
    assert straight.polygon is not None
    slanted = Outline((straight.baseline - center) @ matrix + center, (straight.polygon - center) @ matrix + center)
    images = [cut(level, straight), cut(turned, slanted)]
    assert images[0].shape[0] == images[1].shape[0]
    rows, columns = (min(image.shape[axis] for image in images) - 6 for axis in (0, 1))
    assert np.corrcoef(*(image[2 : rows + 2, 2 : columns + 2].ravel() for image in images))[0, 1] > 0.95
    # A line's edges are rounded to whole pixels, so that the slanted one may lie by one of them elsewhere in its image.
    straightened = images[0][3 : 3 + rows, 3 : 3 + columns]
    shifted = [images[1][row : row + rows, column : column + columns] for row in (2, 3, 4) for column in (2, 3, 4)]
    assert max(np.corrcoef(straightened.ravel(), other.ravel())[0, 1] for other in shifted) > 0.99


def test_what_lies_outside_of_the_polygon_is_paper() -> None:
    page = stroke([(40, 130), (360, 130)], above=0)
    page.paste(INK, (200, 100, 230, 118))
    polygon = parse_points("40,121 360,121 360,160 40,160")
    line = cut(np.asarray(page), Outline(parse_points("40,150 360,150"), polygon, band=(50, 10)))
    assert line.shape == (60, 321)
    assert (line[:20] == PAPER).all()
    assert (line[29:31] == INK).all()


def test_without_a_baseline_it_is_the_polygons_box() -> None:
    page = np.asarray(scribbled())
    line = cut(page, Outline(None, parse_points("50,60 90,60 90,80 50,80")))
    assert_same_pixels(line, page[60:81, 50:91])


def test_a_polygon_beyond_the_page_is_cut_off_there() -> None:
    page = np.asarray(scribbled())
    line = cut(page, Outline(parse_points("-10,20 410,20"), parse_points("-10,-5 410,-5 410,30 -10,30"), band=(25, 10)))
    assert_same_pixels(line[5:], page[:30])


def test_a_baseline_shorter_than_its_polygon_is_lengthened() -> None:
    page = np.asarray(scribbled())
    line = cut(
        page, Outline(parse_points("100,150 200,150"), parse_points("40,120 360,120 360,160 40,160"), band=(30, 10))
    )
    assert_same_pixels(line, page[120:160, 40:361])


@pytest.mark.parametrize("upside_down", [False, True], ids=["drawn from the wrong end", "upside down"])
def test_a_baseline_to_the_left(upside_down: bool) -> None:
    page = np.asarray(scribbled())
    polygon = parse_points("40,140 360,140 360,180 40,180" if upside_down else "40,120 360,120 360,160 40,160")
    line = cut(page, Outline(parse_points("360,150 40,150"), polygon, band=(30, 10)))
    expected = page[141:181, 40:361][::-1, ::-1] if upside_down else page[120:160, 40:361]
    assert_same_pixels(line, expected)


def test_a_polygon_of_no_pixel_is_refused() -> None:
    page = np.asarray(scribbled())
    with pytest.raises(Refusal, match="outside of the page"):
        cut(page, Outline(None, parse_points("900,60 950,60 950,80")))


def test_lines_of_a_page_share_a_band() -> None:
    paths = [[(40, y), (360, y)] for y in (60, 120, 180, 240)]
    reach = [(30, 10), (28, 9), (30, 50), (30, 10)]
    outlines = [
        Outline(parse_points(points(path)), parse_points(band(path, *size)))
        for path, size in zip(paths, reach, strict=True)
    ]
    found = [outline.band for outline in with_bands(outlines, WIDTH, HEIGHT)]
    assert len(set(found)) == 1
    above, below = found[0] or (0, 0)
    assert above == 30
    assert 10 <= below < 50


def test_a_line_of_another_size_keeps_it() -> None:
    paths = [[(40, y), (360, y)] for y in (60, 100, 140, 180, 280)]
    reach = [(20, 5)] * 4 + [(80, 20)]
    outlines = [
        Outline(parse_points(points(path)), parse_points(band(path, *size)))
        for path, size in zip(paths, reach, strict=True)
    ]
    assert [outline.band for outline in with_bands(outlines, WIDTH, HEIGHT)] == [(20, 5)] * 4 + [(80, 20)]


def test_a_line_without_a_polygon_has_the_pages_band() -> None:
    path = [(40, 100), (360, 100)]
    outlines = [
        Outline(parse_points(points(path)), parse_points(band(path, 24, 6))),
        Outline(parse_points("40,200 360,210"), None),
    ]
    page = np.asarray(scribbled())
    lines = [cut(page, outline) for outline in with_bands(outlines, WIDTH, HEIGHT)]
    assert [line.shape[0] for line in lines] == [30, 30]


def test_baselines_alone_are_cut_by_their_distance() -> None:
    outlines = [Outline(parse_points(f"40,{y} 360,{y}"), None) for y in (60, 100, 140)]
    heights = [sum(outline.band or ()) for outline in with_bands(outlines, WIDTH, HEIGHT)]
    assert all(math.isclose(height, 24 * 1.05) for height in heights)  # no more than two 25ths of the page's height


def test_how_much_outlines_have_in_common() -> None:
    """Whatever their first point and direction, and whether it comes again at the end."""
    bent = np.array([[10, 50], [300, 20], [600, 50], [600, 90], [300, 60], [10, 90]], float)
    line = Outline(None, bent)
    assert overlap(line, line) == 1
    assert overlap(line, Outline(None, np.concatenate([bent[3:], bent[:4]])[::-1])) == 1
    for down, expected in ((8, 32 / 48), (20, 20 / 60), (35, 5 / 75), (200, 0)):
        assert overlap(line, Outline(None, bent + np.array([0, down]))) == pytest.approx(expected, abs=0.08)
    assert overlap(line, Outline(None, bent + np.array([1000, 0]))) == 0
    with pytest.raises(ValueError, match="expected two outlines with polygons, got 1"):
        overlap(line, Outline(bent[:3], None))
