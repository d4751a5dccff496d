"""What PAGE XML tells of a page and its lines, versions 2010 to 2019."""

from __future__ import annotations

from spatial_lstm.handwriting.data.alto import check_words, number
from spatial_lstm.handwriting.data.markup import Node
from spatial_lstm.handwriting.data.outline import Outline, parse_baseline, parse_polygon
from spatial_lstm.handwriting.data.report import Refusal


def image(root: Node) -> str:
    """The name of the page's picture, empty where there is none."""
    page = root.child("Page")
    return page.attributes.get("imageFilename", "").strip() if page else ""


def unit(root: Node) -> str:
    """Always pixels."""
    return "pixel"


def size(page: Node) -> tuple[float, float] | None:
    """Width and height of the page; None where they are not told."""
    found = [page.attributes[name] for name in ("imageWidth", "imageHeight") if name in page.attributes]
    return (number(found[0]), number(found[1])) if len(found) == 2 else None


def text(line: Node) -> str | None:
    """The text of a line: its own or, where it has none, that of its words with spaces between; None where there is none.

    Raises:
        Refusal: If there are only texts with an index above 0, what programs read before, or some words have a text and some none.
    """
    own = _transcript(line)
    words = line.all("Word")
    if own is not None or not words:
        return own
    read = [_transcript(word) for word in words]
    check_words(read)
    return " ".join(word for word in read if word) or None


def outline(line: Node) -> Outline:
    """Where a line lies.

    Raises:
        Refusal: If there is nothing to go by, or it is broken.
    """
    baseline, coords = line.child("Baseline"), line.child("Coords")
    return Outline(
        parse_baseline(baseline.attributes.get("points", "")) if baseline else None,
        parse_polygon(_points(coords)) if coords else None,
    )


def transcript(node: Node) -> Node | None:
    """The TextEquiv that people wrote: that of index 0 or else the first without one."""
    found = node.all("TextEquiv")
    first = [equiv for equiv in found if _index(equiv) == "0"]
    return next(iter(first or [equiv for equiv in found if _index(equiv) == ""]), None)


def _transcript(node: Node) -> str | None:
    chosen = transcript(node)
    if chosen is None:
        if old := node.all("TextEquiv"):
            indices = ", ".join(_index(equiv) for equiv in old)
            raise Refusal("only old results of recognition", f"TextEquiv of index {indices}")
        return None
    unicode = chosen.child("Unicode")
    return unicode.text if unicode else None


def _index(equiv: Node) -> str:
    return equiv.attributes.get("index", "").strip()


def _points(coords: Node) -> str:
    """The points of Coords: an attribute since 2013, elements before."""
    if "points" in coords.attributes:
        return coords.attributes["points"]
    return " ".join(f"{point.attributes.get('x', '')},{point.attributes.get('y', '')}" for point in coords.all("Point"))
