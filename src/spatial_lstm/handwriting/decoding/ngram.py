"""What characters follow which, learnt from texts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spatial_lstm.arguments import check_positive_int

# Stands before the first character of a line and after its last; no line holds it.
END = "\n"
# Contexts whose probabilities are kept: of 120 characters, 16 MB.
KEPT = 16384
LEAST_DISCOUNT = 0.1


class _Level(NamedTuple):
    """The n-grams of one length.

    Attributes:
        discount: D.
        followers: For each context, where the characters stand that follow it, each with its count.
    """

    discount: float
    followers: dict[str, list[tuple[int, int]]]


class NGram:
    r"""A character model with interpolated Kneser-Ney smoothing, after Kneser & Ney, 1995, and Chen & Goodman, 1999.

    With c the times that character w followed the context u,

    .. math::
        p(w | u) = \frac{\max(c(u w) - D, 0)}{\sum_v c(u v)} + \frac{D \, |\{v : c(u v) > 0\}|}{\sum_v c(u v)} \, p(w | u')

    where u' is u without its first character, for which c counts the different characters that u' w followed, and not how often (but for
    the beginning of a line, which nothing can precede). D is :math:`n_1 / (n_1 + 2 n_2)`, of the n-grams of a length seen once and twice.
    Below the empty context lies a uniform distribution over the alphabet, the end of the line and one unknown character.

    Args:
        order: Characters of an n-gram: the last one is predicted from the others.
        alphabet: The characters that there are, those in the counts at least.
        counts: Times that each n-gram was seen, of ``order`` characters each, with newlines before a line's first and after its last.

    Attributes:
        places: Where each character of the alphabet stands in what :meth:`log_probs` returns; the newline's is the end of the line.
        unknown: Where a character stands that is not in the alphabet.

    Raises:
        ValueError: If the counts are none, or not of this order.
    """

    def __init__(self, order: int, alphabet: str, counts: Mapping[str, int]) -> None:
        check_positive_int("order", order)
        wrong = next((gram for gram, count in counts.items() if len(gram) != order or count < 1), None)
        if not counts or wrong is not None:
            raise ValueError(f"expected n-grams of {order} characters seen at least once, got {wrong!r}")
        if END in alphabet or len(set(alphabet)) != len(alphabet):
            raise ValueError(f"expected an alphabet of distinct characters without the newline, got {alphabet!r}")
        strange = {gram[-1] for gram in counts} - {*alphabet, END}
        if strange:
            raise ValueError(f"expected n-grams of the alphabet, got some that end in {''.join(sorted(strange))!r}")
        self.order = order
        self.alphabet = alphabet
        self.counts = dict(counts)
        self.places = {character: place for place, character in enumerate(alphabet + END)}
        self.unknown = len(self.places)
        self._levels = [_level(level, self.places) for level in _continued(self.counts, order)]
        self._uniform = np.full(self.unknown + 1, 1 / (self.unknown + 1))
        self._kept: dict[str, NDArray[np.float64]] = {}

    @classmethod
    def learn(cls, texts: Iterable[str], *, order: int = 6, alphabet: Iterable[str] = ()) -> NGram:
        """Return the model of some lines.

        Args:
            texts: One line each.
            order: Characters of an n-gram.
            alphabet: Characters to know beside those of the lines.

        Raises:
            ValueError: If there are no lines, or one has a newline.
        """
        check_positive_int("order", order)
        counts: Counter[str] = Counter()
        for text in texts:
            if END in text:
                raise ValueError(f"expected lines without newlines, got {text!r}")
            padded = END * (order - 1) + text + END
            counts.update(padded[k : k + order] for k in range(len(text) + 1))
        if not counts:
            raise ValueError("expected lines to learn from, got none")
        known = {*alphabet, *(gram[-1] for gram in counts)} - {END}
        return cls(order, "".join(sorted(known)), counts)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that :meth:`from_dict` makes the model of."""
        return {"order": self.order, "alphabet": self.alphabet, "counts": dict(self.counts)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> NGram:
        """Return the model that :meth:`to_dict` wrote down.

        Raises:
            ValueError: If it is none.
        """
        try:
            return cls(content["order"], content["alphabet"], content["counts"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"expected an n-gram model's order, alphabet and counts, got others: {error}") from error

    def log_probs(self, context: str) -> NDArray[np.float64]:
        """Return the log-probability of every character after a context, the end and the unknown character among them; they sum to one.

        Args:
            context: What stands before in the line; its last ``order - 1`` characters count.
        """
        padded = END * (self.order - 1) + context
        known = padded[len(padded) - self.order + 1 :]
        return self._log_probs(known)

    def log_prob(self, text: str) -> float:
        """Return the log-probability of a whole line, its end included, in nats."""
        ahead = (*text, END)
        rows = (self.log_probs(text[:k]) for k in range(len(ahead)))
        return float(sum(row[self.places.get(c, self.unknown)] for row, c in zip(rows, ahead, strict=True)))

    def bits_per_character(self, texts: Iterable[str]) -> float:
        """Return the mean surprise of lines in bits for each character, their ends counted as one.

        Raises:
            ValueError: If there are none.
        """
        lines = list(texts)
        if not lines:
            raise ValueError("expected lines, got none")
        nats = -sum(self.log_prob(line) for line in lines)
        return nats / math.log(2) / sum(len(line) + 1 for line in lines)

    def _log_probs(self, context: str) -> NDArray[np.float64]:
        found = self._kept.get(context)
        if found is None:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            found = self._kept[context] = np.log(self._probabilities(context))
            found.setflags(write=False)
        return found

    def _probabilities(self, context: str) -> NDArray[np.float64]:
        """Of every character after a context of at most ``order - 1``, by the formula above, from the shortest context up."""
        found = self._uniform
        for length, level in enumerate(self._levels):
            followers = level.followers.get(context[len(context) - length :])
            if followers is None:
                break
            places, counts = np.array(followers).T
            total = counts.sum()
            found = found * (level.discount * len(counts) / total)
            found[places] += (counts - level.discount) / total
        return found


def _continued(counts: Mapping[str, int], order: int) -> list[Mapping[str, int]]:
    """Counts of n-grams of every length, shortest first: those seen, and below them of how many longer ones each is the end."""
    levels: list[Mapping[str, int]] = [counts]
    for length in range(order - 1, 0, -1):
        shorter: Counter[str] = Counter()
        for gram, count in levels[0].items():
            begins_line = length > 1 and gram[1] == END
            shorter[gram[1:]] += count if begins_line else 1
        levels.insert(0, shorter)
    return levels


def _level(counts: Mapping[str, int], places: Mapping[str, int]) -> _Level:
    """Counts of n-grams of one length, by context."""
    once, twice = (sum(count == times for count in counts.values()) for times in (1, 2))
    # Few texts leave nothing seen once, or nothing seen twice; both would make D useless.
    discount = min(max(once / max(1, once + 2 * twice), LEAST_DISCOUNT), 1 - LEAST_DISCOUNT)
    followers: dict[str, list[tuple[int, int]]] = {}
    for gram, count in counts.items():
        followers.setdefault(gram[:-1], []).append((places[gram[-1]], count))
    return _Level(discount, followers)
