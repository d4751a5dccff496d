"""How numbers, sums and equations are written."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping

# Of a line, in characters.
WIDTH = 100
# A space at which no line may break.
GLUE = "\0"


def number(value: float) -> str:
    """Four digits; what is zero but for rounding is 0."""
    return f"{round(value, 12) + 0.0:.4g}"


def factor(value: float) -> str:
    """A number as it stands within a product, where a negative one needs parentheses."""
    text = number(value)
    return f"({text})" if text.startswith("-") else text


def weighted(terms: Iterable[tuple[float, str]]) -> str:
    """``0.5*x - 0.3*h_0 + 0.2``; a term without a name is its weight alone."""
    return plus(number(weight) + (f"*{name}" if name else "") for weight, name in terms)


def plus(terms: Iterable[str]) -> str:
    """The sum of what is not empty; a minus in front takes the place of the plus."""
    bare = [re.sub(r"^\((-[^() ]*)\)", r"\1", term) for term in terms if term]
    text = "".join(f" - {term[1:]}" if term.startswith("-") else f" + {term}" for term in bare)
    return text[3:] if text.startswith(" + ") else text.replace(" - ", "-", 1)


def substitute(formula: str, values: Mapping[str, float]) -> str:
    """``formula`` with each symbol's number, the longest symbol that fits first: in ``s(o)*c`` that is ``s(o)``, then ``c``."""
    symbols = "|".join(re.escape(symbol) for symbol in sorted(values, key=len, reverse=True))
    text = re.sub(rf"(?<!\w)(?:{symbols})(?![\w(])", lambda match: factor(values[match[0]]), formula)
    return re.sub(r"\(\((-[^() ]*)\)", r"(\1", text)  # right after a parenthesis a minus needs none of its own


def equation(name: str, *sides: str) -> list[str]:
    """``name = side = side``, broken into lines before ``=`` where it can be, else between terms."""
    margin = 7 if "[" in name else 5
    rows = [f"  {name:<{margin}} = {sides[0]}"]
    for side in sides[1:]:
        if len(rows[-1]) + len(side) + 3 > WIDTH:
            rows.append(f"{'':<{margin + 2}} = {side}")
        else:
            rows[-1] += f" = {side}"
    return [line for row in rows for line in _broken(row, margin + 5)]


def _broken(row: str, indent: int) -> list[str]:
    """A long row in lines, broken before a plus or minus that is not within parentheses."""
    text, depth = [], 0
    for character in row:
        depth += (character == "(") - (character == ")")
        text.append(GLUE if character == " " and depth else character)
    body = "".join(text)
    start = len(body) - len(body.lstrip())
    glued = GLUE * start + re.sub(r"(?<= [=+-]) ", GLUE, body[start:])
    lines = textwrap.wrap(glued, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
    return [line.replace(GLUE, " ") for line in lines]


def grid(rows: Iterable[Iterable[float]]) -> list[str]:
    """Numbers in columns."""
    return ["".join(f"{number(value):>11}" for value in row) for row in rows]


def paragraph(text: str) -> list[str]:
    """Prose in lines."""
    return textwrap.wrap(text, WIDTH)
