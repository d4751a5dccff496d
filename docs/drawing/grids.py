"""Still drawings of a grid: what a cell gets, what each direction sees, where states enter and leave."""

from __future__ import annotations

from docs.drawing.svg import BLUE, GRAY, ORANGE, PALE, arrow, picture, rectangle, words


def draw_cell() -> str:
    """One site with its two predecessors."""
    side = 96
    boxes = {(1, 0): ("above", PALE), (0, 1): ("left", PALE), (1, 1): ("this site", ORANGE)}
    parts = []
    for (column, row), (name, fill) in boxes.items():
        x, y = 30 + column * 2 * side, 20 + row * 1.7 * side
        parts += [rectangle(x, y, side, side, fill), words(x + side / 2, y + side / 2 + 5, name)]
    x, y = 30 + 2 * side, 20 + 1.7 * side
    parts += [
        arrow(x + side / 2, 22 + side, x + side / 2, y - 4, BLUE),
        words(x + side / 2 + 10, y - 26, "h\u2080, c\u2080", anchor="start"),
        arrow(32 + side, y + side / 2, x - 4, y + side / 2, BLUE),
        words(30 + 1.5 * side, y + side / 2 - 10, "h\u2081, c\u2081"),
        arrow(x - 40, y - 32, x + 8, y + 8),
        words(x - 46, y - 36, "x", anchor="end"),
        arrow(x + side + 2, y + side / 2, x + side + 60, y + side / 2),
        words(x + side + 66, y + side / 2 + 5, "h, c to the right and below", anchor="start"),
        arrow(x + side / 2, y + side + 2, x + side / 2, y + side + 36),
    ]
    return picture(600, 330, "A cell gets x and two states", parts)


def _grid(x: float, y: float, side: int, seen: str, name: str) -> list[str]:
    """A 7 x 7 image in which the middle sees what a direction has passed."""
    parts = []
    for row in range(7):
        for column in range(7):
            passed = all(
                (place <= 3) if letter == "f" else (place >= 3)
                for letter, place in zip(seen, (row, column), strict=False)
            )
            fill = ORANGE if (row, column) == (3, 3) else PALE if passed else GRAY
            parts.append(rectangle(x + column * side, y + row * side, side - 2, side - 2, fill))
    return [*parts, words(x + 3.5 * side, y + 7 * side + 20, name, size=13)]


def draw_directions() -> str:
    """Four directions, and all together."""
    parts = []
    names = {"ff": "ff", "fr": "fr", "rf": "rf", "rr": "rr", "": "all"}
    for place, (seen, name) in enumerate(names.items()):
        parts += _grid(20 + place * 140, 20, 17, seen, name)
    return picture(720, 180, "What the pixel in the middle sees", parts)


def draw_faces() -> str:
    """Near faces above and to the left, far faces below and to the right."""
    x, y, side = 130, 70, 34
    parts = [
        rectangle(x + column * side, y + row * side, side - 2, side - 2, PALE)
        for row in range(4)
        for column in range(6)
    ]
    for column in range(6):
        parts += [rectangle(x + column * side, y - 26, side - 2, 16, BLUE)]
        parts += [rectangle(x + column * side, y + 4 * side + 8, side - 2, 16, ORANGE)]
    for row in range(4):
        parts += [rectangle(x - 26, y + row * side, 16, side - 2, BLUE)]
        parts += [rectangle(x + 6 * side + 8, y + row * side, 16, side - 2, ORANGE)]
    parts += [
        words(x + 3 * side, y - 40, "near face of axis 0"),
        words(x - 34, y + 2 * side + 4, "near face 1", anchor="end"),
        words(x + 3 * side, y + 4 * side + 44, "far face of axis 0: state.h[0]"),
        words(x + 6 * side + 32, y + 2 * side + 4, "far face 1: state.h[1]", anchor="start"),
    ]
    return picture(540, 270, "Near and far faces", parts)
