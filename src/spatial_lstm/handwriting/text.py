"""Text as it is learnt, read and compared: one normal form, one space between words, characters in the order in which they are seen.

The order: a network reads from left to right, but text is stored in the order of reading. So lines of right-to-left scripts are turned into
the order on paper to be learnt, and back after reading. The rule is simpler than Unicode's (UAX 9), and undoes itself: a line is reversed,
and in it each run of numbers and left-to-right letters, with what stands between two of them, is put back; in a line of a left-to-right
script the same is done with each run of right-to-left letters, with what stands between two of them. Marks stay behind the letter that they
belong to, or in front of the line if they belong to none; brackets that are reversed are mirrored. Unicode's direction characters have no
effect.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, get_args

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
FORMS: tuple[Form, ...] = get_args(Form)
MIRRORED = str.maketrans("()[]{}<>«»\u2039\u203a", ")(][}{><»«\u203a\u2039")


def normal_text(text: str, form: Form = "NFC") -> str:
    """A text in a normal form of Unicode, each run of white space one space, and none at the ends.

    Raises:
        ValueError: If there is no such form.
    """
    if form not in FORMS:
        raise ValueError(f"expected a form of {', '.join(FORMS)}, got {form!r}")
    return " ".join(unicodedata.normalize(form, text).split())


def is_right_to_left(text: str) -> bool:
    """Whether a text has more letters that are written from right to left than from left to right."""
    sides = _sides(text)
    return sides.count("r") > sides.count("l")


def turned(text: str, *, right_to_left: bool) -> str:
    """From the order of reading to the order on paper from left to right, or back: this undoes itself.

    Args:
        text: A line.
        right_to_left: Whether lines begin at the right, as they do in a right-to-left script whatever stands in them.
    """
    clusters = _clusters(text)
    if clusters and _is_mark(text[0]):
        return clusters[0] + turned(text[len(clusters[0]) :], right_to_left=right_to_left)
    kinds = _sides("".join(cluster[0] for cluster in clusters))
    if right_to_left:
        return _reversed(clusters, kinds)
    found, at = "", 0
    for run in re.finditer("r(?:[^l]*r)?", kinds):
        found += "".join(clusters[at : run.start()]) + _reversed(clusters[run.start() : run.end()], run[0])
        at = run.end()
    return found + "".join(clusters[at:])


def _reversed(clusters: list[str], kinds: str) -> str:
    """Clusters from last to first and mirrored, but for the runs from left to right."""
    parts, at = [], 0
    for run in re.finditer("[ln](?:[^r]*[ln])?", kinds):
        parts += [_mirrored(clusters[at : run.start()]), "".join(clusters[run.start() : run.end()])]
        at = run.end()
    return "".join(reversed([*parts, _mirrored(clusters[at:])]))


def _mirrored(clusters: list[str]) -> str:
    return "".join(cluster.translate(MIRRORED) for cluster in reversed(clusters))


def _clusters(text: str) -> list[str]:
    """Characters with the marks that follow them."""
    found: list[str] = []
    for character in text:
        if found and _is_mark(character):
            found[-1] += character
        else:
            found.append(character)
    return found


def _is_mark(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Me")


def _sides(text: str) -> str:
    """For each character ``r`` or ``l`` if it is a letter of such a script, ``n`` if it is a digit, else ``-``."""
    kinds = {"R": "r", "AL": "r", "L": "l", "EN": "n", "AN": "n"}
    return "".join(kinds.get(unicodedata.bidirectional(character), "-") for character in text)
