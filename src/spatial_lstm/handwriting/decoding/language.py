"""A character model in the words of a decoder: classes, not characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from spatial_lstm.handwriting.decoding.ngram import END, NGram


class Language:
    """What classes follow which.

    Args:
        ngram: The model.
        characters: Of classes 1, 2, ..; class 0 is the blank.

    Raises:
        ValueError: If one is no single character.
    """

    def __init__(self, ngram: NGram, characters: Sequence[str]) -> None:
        wrong = next((c for c in characters if len(c) != 1), None)
        if wrong is not None:
            raise ValueError(f"expected single characters, got {wrong!r}")
        self.ngram = ngram
        self.characters = list(characters)
        self._places = np.array([ngram.places.get(c, ngram.unknown) for c in (END, *characters)])

    @classmethod
    def learn(cls, lines: Iterable[Sequence[int]], characters: Sequence[str], *, order: int = 6) -> Language:
        """Return the model of lines in classes, as a codec writes them: in the order on paper.

        Args:
            lines: The classes of each one's characters.
            characters: Of classes 1, 2, ..
            order: Characters of an n-gram.

        Raises:
            ValueError: If there are no lines, or characters are not single.
        """
        texts = ("".join(characters[label - 1] for label in line) for line in lines)
        return cls(NGram.learn(texts, order=order, alphabet=characters), characters)

    def log_probs(self, context: str) -> NDArray[np.float64]:
        """Return the log-probabilities of all classes after some characters, ``(classes,)``; class 0 stands for the end of the line."""
        found: NDArray[np.float64] = self.ngram.log_probs(context)[self._places]
        return found

    def extend(self, context: str, label: int) -> str:
        """Return what the next character's context is after one of this class."""
        kept = self.ngram.order - 1
        return (context + self.characters[label - 1])[-kept:] if kept else ""
