"""The most probable text, all its paths together, with a character model if there is one."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spatial_lstm.arguments import check_positive_int
from spatial_lstm.handwriting.codec import BLANK
from spatial_lstm.handwriting.decoding.columns import Columns, Floats, log_probabilities
from spatial_lstm.handwriting.decoding.language import Language


class _Prefix:
    """What a text may begin with.

    Attributes:
        parent: The same without its last character; None for the empty one.
        label: The class of its last character; the blank for the empty one.
        extra: What character model and bonus add to its score.
        context: For the character model.
    """

    __slots__ = ("_gains", "children", "context", "extra", "label", "parent")

    def __init__(
        self, parent: _Prefix | None = None, label: int = BLANK, extra: float = 0.0, context: str = ""
    ) -> None:
        self.parent = parent
        self.label = label
        self.extra = extra
        self.context = context
        self.children: dict[int, _Prefix] = {}
        self._gains: Floats | None = None

    def gains(self, language: Language) -> Floats:
        """The character model's log-probabilities of what follows, ``(classes,)``."""
        if self._gains is None:
            self._gains = language.log_probs(self.context)
        return self._gains

    def labels(self) -> tuple[int, ...]:
        """The classes of its characters."""
        found: list[int] = []
        prefix = self
        while prefix.parent is not None:
            found.append(prefix.label)
            prefix = prefix.parent
        return tuple(reversed(found))


class _Beam(NamedTuple):
    """The prefixes that are followed, with the probabilities of their paths so far.

    Attributes:
        prefixes: Each once.
        ending: Of the paths that end in the blank, divided by a common factor.
        going: Of those that end in the last character, likewise.
        log_factor: The logarithm of that.
    """

    prefixes: list[_Prefix]
    ending: Floats
    going: Floats
    log_factor: float


class BeamSearch:
    r"""Prefix beam search after Graves & Jaitly, 2014, and Hannun et al., 2014.

    Finds the text y of the greatest :math:`\log p(y | x) + a \log q(y) + b |y|`, p being the network's probability of all paths of y, q
    that of the character model, its end among it: exactly, if the beam is wide enough and ``least`` is 0.

    Args:
        width: Texts that are followed at a time.
        language: The character model.
        weight: Its weight, a.
        bonus: For every character, b: a character model alone makes texts short.
        least: Classes less probable than this in a column are not considered there.

    Raises:
        ValueError: If an option is out of range.
        TypeError: If ``width`` is no int.
    """

    def __init__(
        self,
        width: int = 16,
        *,
        language: Language | None = None,
        weight: float = 0.5,
        bonus: float = 0.0,
        least: float = 1e-3,
    ) -> None:
        check_positive_int("width", width)
        if not (0 <= least < 1 and math.isfinite(weight) and weight >= 0 and math.isfinite(bonus)):
            raise ValueError(
                f"expected least in [0, 1), weight of at least 0 and a finite bonus, got {least}, {weight}, {bonus}"
            )
        self.width = width
        self.language = language
        self.weight = weight
        self.bonus = bonus
        self.least = least

    def __call__(self, log_probs: Columns, /) -> tuple[int, ...]:
        """Return the classes of the best text's characters; arguments and errors are those of :meth:`ranked`."""
        return self.ranked(log_probs)[0][0]

    def ranked(self, log_probs: Columns) -> list[tuple[tuple[int, ...], float]]:
        """Return the texts at the end of the search, best first, each with its score.

        Args:
            log_probs: ``(T, classes)``, T at least 1, of a line's own columns.

        Raises:
            ValueError: If the shape does not fit, they are no log-probabilities, or the character model is of other classes.
        """
        values = log_probabilities(log_probs)
        if self.language is not None and values.shape[1] != len(self.language.characters) + 1:
            known = len(self.language.characters)
            raise ValueError(
                f"expected the {known} characters of the model and the blank, got {values.shape[1]} classes"
            )
        beam = _Beam([_Prefix()], np.ones(1), np.zeros(1), 0.0)
        with np.errstate(divide="ignore"):
            for column in np.exp(values):
                beam = self._next(beam, column)
            scores = np.log(beam.ending + beam.going) + beam.log_factor
        texts = [
            (prefix.labels(), float(score) + prefix.extra + self._gain(prefix, np.array([BLANK]))[0])
            for prefix, score in zip(beam.prefixes, scores, strict=True)
        ]
        return sorted(texts, key=lambda text: -text[1])

    def _next(self, beam: _Beam, column: Floats) -> _Beam:
        """One column further: prefixes stay what they are, or grow by a character; the best are kept."""
        prefixes, ending, going, log_factor = beam
        lasts = np.array([prefix.label for prefix in prefixes])
        both, labels = ending + going, self._likely(column)
        grown = (
            np.where(labels == lasts[:, None], ending[:, None], both[:, None]) * column[labels]
        )  # (prefixes, labels)
        ending, going = both * column[BLANK], going * column[lasts]
        _merge(prefixes, labels, grown, going)
        extra = np.array([prefix.extra for prefix in prefixes])
        gains = np.stack([self._gain(prefix, labels) for prefix in prefixes]) + self.bonus
        scores = np.append(np.log(ending + going) + extra, np.log(grown) + extra[:, None] + gains)
        places = np.argsort(-scores, kind="stable")[: self.width]
        places = places[np.isfinite(scores[places])]
        old, new = places[places < len(prefixes)], places[places >= len(prefixes)] - len(prefixes)
        parents, at = np.divmod(new, max(1, len(labels)))
        kept = [prefixes[place] for place in old]
        for parent, label, gain in zip(parents, labels[at], gains[parents, at], strict=True):
            kept.append(self._child(prefixes[parent], int(label), float(gain)))
        ending = np.append(ending[old], np.zeros(len(new)))
        going = np.append(going[old], grown[parents, at])
        factor = float((ending + going).max())
        return _Beam(kept, ending / factor, going / factor, log_factor + math.log(factor))

    def _likely(self, column: Floats) -> NDArray[np.int64]:
        """The characters that are worth a try in a column: the probable ones, and the best in any case."""
        likely = column >= min(self.least, column.max())
        likely[BLANK] = False
        return np.flatnonzero(likely)

    def _gain(self, prefix: _Prefix, labels: NDArray[np.int64]) -> Floats:
        """What the character model adds to the score for these classes."""
        return np.zeros(len(labels)) if self.language is None else self.weight * prefix.gains(self.language)[labels]

    def _child(self, prefix: _Prefix, label: int, gain: float) -> _Prefix:
        """The prefix that is longer by a character: one and the same, however often it is asked for."""
        if label not in prefix.children:
            context = "" if self.language is None else self.language.extend(prefix.context, label)
            prefix.children[label] = _Prefix(prefix, label, prefix.extra + gain, context)
        return prefix.children[label]


def _merge(prefixes: list[_Prefix], labels: NDArray[np.int64], grown: Floats, going: Floats) -> None:
    """Give the paths by which a prefix grows into another one of the beam to that one."""
    places = {prefix: place for place, prefix in enumerate(prefixes)}
    columns = {int(label): column for column, label in enumerate(labels)}
    for place, prefix in enumerate(prefixes):
        if prefix.parent in places and prefix.label in columns:
            at = places[prefix.parent], columns[prefix.label]
            going[place] += grown[at]
            grown[at] = 0
