"""How well text was read: character and word error rates, with their uncertainty, and which errors they are made of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spatial_lstm.arguments import check_positive_int
from spatial_lstm.handwriting.text import Form, normal_text

# From this many pages on, the pages are what is drawn again and again; from fewer the lines.
PAGES = 5
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Pair:
    """What is written in a line, and what was read.

    Attributes:
        reference: The text that counts as right.
        hypothesis: The text that was read.
        page: Of the line; None where it is not known.
        line: Its id.
    """

    reference: str
    hypothesis: str
    page: str | None = None
    line: str = ""


@dataclass(frozen=True)
class Errors:
    """Counts of some lines. Rates are errors over what there is to read; they may exceed 1, and are NaN of nothing.

    Attributes:
        lines: How many.
        characters, words: Of the references.
        character_errors, word_errors: Substitutions, deletions and insertions that lead from the one to the other, as few as possible.
    """

    lines: int
    characters: int
    character_errors: int
    words: int
    word_errors: int

    @property
    def cer(self) -> float:
        """Character error rate."""
        return self.character_errors / self.characters if self.characters else float("nan")

    @property
    def wer(self) -> float:
        """Word error rate; words are what stands between spaces."""
        return self.word_errors / self.words if self.words else float("nan")


@dataclass(frozen=True)
class Evaluation:
    """The errors of all lines, and where they are.

    Attributes:
        total: Counts of all lines.
        cer_interval, wer_interval: Between which the rates lie with 95 %, by bootstrap; NaN of a single line or page, which tells none.
        interval_over: ``"pages"`` or ``"lines"``: what was drawn again and again for it.
        pages: Counts of each page, the worst first; None stands for lines of no known page.
        lines: Each line with its counts, the one with the most wrong characters for its length first.
        confusions: How often a character (first) was read as another (second); the empty text stands for one read where there is none, or
            not read.
    """

    total: Errors
    cer_interval: tuple[float, float]
    wer_interval: tuple[float, float]
    interval_over: str
    pages: list[tuple[str | None, Errors]]
    lines: list[tuple[Pair, Errors]]
    confusions: Counter[tuple[str, str]]


def evaluate(pairs: Sequence[Pair], *, form: Form = "NFC", samples: int = 1000, seed: int = 0) -> Evaluation:
    """Compare what was read with what is written.

    Both are compared in a normal form of Unicode, with one space for each run of white space. All rates are totals: the errors of all
    lines over the characters of all lines. The interval is the middle 95 % of the rates of ``samples`` sets of pages, or of lines where
    fewer than five pages are known, drawn with repetition.

    Args:
        pairs: One for each line.
        form: The codec's.
        samples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        ValueError: If the references have no character, or there are no samples.
        TypeError: If the samples are no int.
        ModuleNotFoundError: If rapidfuzz is missing.
    """
    check_positive_int("samples", samples)
    normal = [
        Pair(normal_text(pair.reference, form), normal_text(pair.hypothesis, form), pair.page, pair.line)
        for pair in pairs
    ]
    counted = [(pair, count_errors(pair.reference, pair.hypothesis)) for pair in normal]
    total = _sum([errors for _, errors in counted])
    if not total.characters:
        raise ValueError(f"expected references with characters, got {len(pairs)} lines without any")
    pages: dict[str | None, list[Errors]] = {}
    for pair, errors in counted:
        pages.setdefault(pair.page, []).append(errors)
    sums = {page: _sum(found) for page, found in pages.items()}
    over = "pages" if None not in pages and len(pages) >= PAGES else "lines"
    units = list(sums.values()) if over == "pages" else [errors for _, errors in counted]
    cer_interval, wer_interval = _intervals(units, samples, seed)
    return Evaluation(
        total,
        cer_interval,
        wer_interval,
        over,
        sorted(sums.items(), key=lambda item: -_rank(item[1])),
        sorted(counted, key=lambda item: -_rank(item[1])),
        _confusions(normal),
    )


def count_errors(reference: str, hypothesis: str) -> Errors:
    """Count the errors of a line, as the texts are; see :func:`evaluate` for normal forms."""
    from rapidfuzz.distance import Levenshtein

    words = reference.split(), hypothesis.split()
    return Errors(
        1, len(reference), Levenshtein.distance(reference, hypothesis), len(words[0]), Levenshtein.distance(*words)
    )


def _sum(found: Sequence[Errors]) -> Errors:
    return Errors(
        sum(errors.lines for errors in found),
        sum(errors.characters for errors in found),
        sum(errors.character_errors for errors in found),
        sum(errors.words for errors in found),
        sum(errors.word_errors for errors in found),
    )


def _rank(errors: Errors) -> float:
    """The rate by which the worst are found, also of what has no characters."""
    return errors.character_errors / max(errors.characters, 1)


def _intervals(units: Sequence[Errors], samples: int, seed: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Bounds of the character and of the word error rate; NaN where a single unit says nothing of how others are read."""
    if len(units) < 2:
        return (math.nan, math.nan), (math.nan, math.nan)
    counts = np.array([[u.character_errors, u.characters, u.word_errors, u.words] for u in units], dtype=float)
    random = np.random.default_rng(seed)
    sums = np.stack([counts[random.integers(len(units), size=len(units))].sum(0) for _ in range(samples)])
    return _middle(sums[:, 0], sums[:, 1]), _middle(sums[:, 2], sums[:, 3])


def _middle(errors: NDArray[np.float64], of: NDArray[np.float64]) -> tuple[float, float]:
    rates = errors[of > 0] / of[of > 0]
    low, high = np.quantile(rates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _confusions(pairs: Sequence[Pair]) -> Counter[tuple[str, str]]:
    from rapidfuzz.distance import Levenshtein

    found: Counter[tuple[str, str]] = Counter()
    for pair in pairs:
        for edit in Levenshtein.editops(pair.reference, pair.hypothesis):
            wrong = "" if edit.tag == "insert" else pair.reference[edit.src_pos]
            found[wrong, "" if edit.tag == "delete" else pair.hypothesis[edit.dest_pos]] += 1
    return found
