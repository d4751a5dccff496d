"""How much a character model has to say beside the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import NamedTuple

from spatial_lstm.handwriting.decoding.beam import BeamSearch
from spatial_lstm.handwriting.decoding.columns import Floats
from spatial_lstm.handwriting.decoding.language import Language


class Weighting(NamedTuple):
    """What :class:`~spatial_lstm.handwriting.decoding.BeamSearch` takes beside the character model.

    Attributes:
        weight: Of the model's log-probabilities.
        bonus: For every character.
    """

    weight: float = 0.5
    bonus: float = 0.5


# And nothing, where all of these are worse.
TRIED = (
    *(Weighting(weight, bonus) for weight, bonus in product((0.125, 0.25, 0.5, 0.75), (0.0, 0.5, 1.0))),
    Weighting(0.0, 0.0),
)


def best_weighting(
    lines: Sequence[Floats],
    errors: Callable[[list[tuple[int, ...]]], float],
    language: Language,
    *,
    tried: Iterable[Weighting] = TRIED,
    width: int = 16,
) -> Weighting:
    """Return the weighting under which the most probable texts have the fewest errors, the first of several.

    Args:
        lines: Log-probabilities of each, ``(T, classes)``.
        errors: Takes the classes that were read in all lines, gives how wrong they are.
        language: The character model.
        tried: What there is to choose from.
        width: Texts that are followed at a time.
    """

    def errors_with(weighting: Weighting) -> float:
        search = BeamSearch(width, language=language, weight=weighting.weight, bonus=weighting.bonus)
        return errors([search(line) for line in lines])

    return min(tried, key=errors_with)
