"""Scores in words, and what they were made with."""

from __future__ import annotations

import math
import platform
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spatial_lstm.image_models.scoring import Score


# Names that are told of many.
TOLD = 3


def tell(score: Score, what: str, *, remedy: str = "", allow: bool = False) -> int:
    """Print a score, or which images have none; return the exit status, 1 if there is one of the latter.

    Args:
        score: What is told.
        what: Of which images.
        remedy: What may help where some are not finite.
        allow: Tell the mean of the others, and return 0 if there are any.
    """
    wrong, kept = score.not_finite, score.finite()
    if wrong:
        print(
            f"not finite: {len(wrong)} of {len(score.images)} images: {listed(wrong)}{remedy and '; ' + remedy}",
            file=sys.stderr,
        )
    if not kept.images or (wrong and not allow):
        return 1
    print(f"{len(kept.images)} {what}, {kept.pixels:,} pixels scored:")
    print("\n".join(lines(kept)))
    return 0


def listed(names: list[str]) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - TOLD
    return ", ".join(names[:TOLD]) + (f" and {more} more" if more > 0 else "")


def lines(score: Score) -> list[str]:
    """Say what a score is, first in the unit that goes with its kind of images."""
    from spatial_lstm.image_models.units import bits_per_dimension, meaning_of_bits_per_pixel

    bits, errors = score.bits_per_pixel, not math.isnan(score.standard_error)
    dimension = bits_per_dimension(bits, score.channels, score.levels)
    at_most = "at most " if score.levels is None else ""
    found = [
        f"{bits:.4f}{_error(score.standard_error)} bits per pixel: {meaning_of_bits_per_pixel(score.channels, score.levels)}",
        f"{dimension:.4f} bits per dimension: {at_most}the code of an 8-bit channel; lower is better",
    ]
    if score.levels == 2:
        nats = f"{score.nats_per_image:.3f}{_error(score.nats_error, 3)}"
        found = [f"{nats} nats per image: mean negative log-likelihood; lower is better", found[0]]
    found.append(f"(bits: means over all pixels{'; +- standard errors over images' * errors})")
    return [f"  {line}" for line in found]


def _error(error: float, digits: int = 4) -> str:
    """A standard error over images, where there is one."""
    return "" if math.isnan(error) else f" +- {error:.{digits}f}"


def versions() -> dict[str, str]:
    """Of what a score was made with."""
    import torch

    import spatial_lstm

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "spatial_lstm": spatial_lstm.__version__,
    }
