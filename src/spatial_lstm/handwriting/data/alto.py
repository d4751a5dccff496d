"""What ALTO XML tells of a page and its lines: version 4, and 1 to 3 as far as they go."""

from __future__ import annotations

import math
from collections.abc import Sequence

from spatial_lstm.handwriting.data.markup import Node
from spatial_lstm.handwriting.data.outline import Outline, Points, box, parse_baseline, parse_points, parse_polygon
from spatial_lstm.handwriting.data.report import Refusal

# What a line's text is made of: words, the spaces between them, the hyphen at the end.
WORDS = ("String", "SP", "HYP")


def image(root: Node) -> str:
    """The name of the page's picture, empty where there is none."""
    for node in root.walk():
        if node.name == "fileName":
            return node.text.strip()
    return ""


def unit(root: Node) -> str:
    """``"pixel"``, ``"mm10"`` or ``"inch1200"``."""
    for node in root.walk():
        if node.name == "MeasurementUnit":
            return node.text.strip()
    return "pixel"


def size(page: Node) -> tuple[float, float] | None:
    """Width and height of the page; None where they are not told."""
    found = [page.attributes[name] for name in ("WIDTH", "HEIGHT") if name in page.attributes]
    return (number(found[0]), number(found[1])) if len(found) == 2 else None


def text(line: Node) -> str | None:
    """The words of a line, with a space where there is an SP, or between any two where the line has none; None where it has no word.

    Raises:
        Refusal: If some words have a text and some none.
    """
    words = line.all(*WORDS)
    if not words:
        return None
    check_words([string.attributes.get("CONTENT") for string in line.all("String")])
    between = "" if any(word.name == "SP" for word in words) else " "
    found = ""
    for word in words:
        if word.name == "String" and found:
            found += between
        found += " " if word.name == "SP" else word.attributes.get("CONTENT", "")
    return found


def check_words(texts: Sequence[str | None]) -> None:
    """Refuse a line whose words have some a text and some none: what is written in it is not known.

    Raises:
        Refusal: If it is such.
    """
    without = sum(not text for text in texts)
    if 0 < without < len(texts):
        raise Refusal("words without text", f"{without} of {len(texts)}")


def outline(line: Node) -> Outline:
    """Where a line lies.

    Raises:
        Refusal: If there is nothing to go by, or it is broken.
    """
    return Outline(_baseline(line), _polygon(line))


def number(text: str) -> float:
    """A finite number.

    Raises:
        Refusal: If it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Refusal("broken points", f"expected a number, got {text[:60]!r}")
    return value


def _baseline(line: Node) -> Points | None:
    """Points, or in versions 1 to 3 a height."""
    told = line.attributes.get("BASELINE")
    if told is None:
        return None
    if len(told.replace(",", " ").split()) == 1 and (extent := _box(line)) is not None:
        y = number(told)
        return parse_points(f"{extent[0][0]},{y} {extent[1][0]},{y}")
    return parse_baseline(told)


def _polygon(line: Node) -> Points | None:
    """The polygon, or else the box."""
    shape = line.child("Shape")
    polygon = shape.child("Polygon") if shape else None
    points = parse_polygon(polygon.attributes.get("POINTS", "")) if polygon else None
    return _box(line) if points is None else points


def _box(line: Node) -> Points | None:
    names = ("HPOS", "VPOS", "WIDTH", "HEIGHT")
    if any(name not in line.attributes for name in names):
        return None
    x, y, width, height = (number(line.attributes[name]) for name in names)
    return box(x, y, width, height)
