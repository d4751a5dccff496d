"""Rectangles, words and arrows as SVG, on a light card that is readable in dark mode too."""

from __future__ import annotations

from collections.abc import Iterable

BLUE, PALE, ORANGE, GRAY, DARK, WHITE = "#2a6fbb", "#c9def2", "#e07b28", "#e7e9ec", "#30363d", "#ffffff"
FONT = "font-family='Helvetica, Arial, sans-serif'"


def rectangle(x: float, y: float, width: float, height: float, fill: str, more: str = "") -> str:
    """A rectangle; ``more`` are further attributes."""
    return f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' rx='3' fill='{fill}' {more}/>"


def words(x: float, y: float, text: str, *, size: int = 14, color: str = DARK, anchor: str = "middle") -> str:
    """A line of text with its baseline at y."""
    return f"<text x='{x:g}' y='{y:g}' font-size='{size}' fill='{color}' text-anchor='{anchor}' {FONT}>{text}</text>"


def arrow(x1: float, y1: float, x2: float, y2: float, color: str = DARK) -> str:
    """A line with a head at its second end; ``color`` is one of those that :func:`picture` knows heads of."""
    head = f"marker-end='url(#head-{color[1:]})'"
    return f"<line x1='{x1:g}' y1='{y1:g}' x2='{x2:g}' y2='{y2:g}' stroke='{color}' stroke-width='2' {head}/>"


def picture(width: int, height: int, title: str, parts: Iterable[str], style: str = "") -> str:
    """The whole file."""
    heads = "".join(
        f"<marker id='head-{color[1:]}' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        f"<path d='M0 0L8 4L0 8z' fill='{color}'/></marker>"
        for color in (DARK, BLUE, ORANGE)
    )
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}' role='img'>",
            f"<title>{title}</title><defs>{heads}</defs>",
            f"<style>{style}</style>" if style else "",
            f"<rect width='{width}' height='{height}' rx='8' fill='{WHITE}'/>",
            *parts,
            "</svg>\n",
        ]
    )
