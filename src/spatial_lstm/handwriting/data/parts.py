"""Which lines are trained on, which choose the model, and which it is reported on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spatial_lstm.handwriting.data.line import PARTS as PARTS
from spatial_lstm.handwriting.data.line import Line, Lines

# What people call the folders.
NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}


@dataclass(frozen=True)
class Parts:
    """Lines to train on, to choose by and to report on; no page is in two of them."""

    train: Lines
    validation: Lines
    test: Lines


def divide(lines: Sequence[Line], *, validation: float = 0.1, test: float = 0.1, seed: int = 0) -> Parts:
    """Divide lines by page.

    Lines whose folder or list names their part go there. Of the others, whole pages are drawn until validation and test have about these
    fractions of them, at least a page each; what remains is trained on. Where parts are named, only validation is drawn, and only if none
    is named so; it is then taken from what is trained on. A line of no known page counts as a page of its own.

    Args:
        lines: In any order, which does not matter to how they are divided.
        validation: Fraction of the lines, from 0 to below 1.
        test: Alike.
        seed: Of the drawing.

    Raises:
        ValueError: If a fraction is out of range, there are too few pages, or lines of one page are named to be in two parts.
    """
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise ValueError(f"expected fractions from 0 with a sum below 1, got {validation} and {test}")
    named = {line.part for line in lines} - {None}
    pages: dict[str, list[Line]] = {}
    for line in lines:
        if line.part in (None, "train"):
            pages.setdefault(_page(line), []).append(line)
    fractions = {"test": 0.0 if named else test, "validation": 0.0 if "validation" in named else validation}
    drawn = _draw(pages, fractions, seed)
    parts = {_page(line): line.part if line.part in ("validation", "test") else drawn[_page(line)] for line in lines}
    if twice := sorted({_page(line) for line in lines if line.part not in (None, parts[_page(line)], "train")}):
        raise ValueError(f"expected the lines of a page in one part, got {twice[0]} in several")
    return Parts(*(Lines(line for line in lines if parts[_page(line)] == part) for part in PARTS))


def _page(line: Line) -> str:
    return f"{line.file}\n{line.id}" if line.page is None else line.page


def _draw(pages: dict[str, list[Line]], fractions: dict[str, float], seed: int) -> dict[str, str]:
    """A part for each page: pages in random order, each part filled until half of the next page would be too much."""
    wanted = {part: fraction for part, fraction in fractions.items() if fraction}
    if pages and len(pages) <= len(wanted):
        told = ", ".join(sorted(name.partition("\n")[0] for name in pages))
        raise ValueError(
            f"expected more than {len(wanted)} pages to divide, got {len(pages)} ({told}): lines of one page stay together; "
            "give those for validation and test apart, or in folders called train, val and test"
        )
    names = sorted(pages)
    names = [names[k] for k in np.random.default_rng(seed).permutation(len(names))]
    total = sum(map(len, pages.values()))
    found: dict[str, str] = {}
    for left, (part, fraction) in zip(range(len(wanted), 0, -1), wanted.items(), strict=True):
        count = 0
        while len(names) > left and (count == 0 or count + len(pages[names[0]]) / 2 <= fraction * total):
            count += len(pages[names[0]])
            found[names.pop(0)] = part
    return found | dict.fromkeys(names, "train")
