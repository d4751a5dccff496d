"""Medians, spreads and growth."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """A median between its quartiles."""

    lower: float
    median: float
    upper: float


def spread(samples: Sequence[float]) -> Spread:
    """Return the median and the quartiles of at least one sample.

    Raises:
        ValueError: If there is none.
    """
    if not samples:
        raise ValueError("expected at least one sample, got none")
    if len(samples) == 1:
        return Spread(samples[0], samples[0], samples[0])
    return Spread(*statistics.quantiles(samples, n=4, method="inclusive"))


def ratio(samples: Sequence[float], base: Sequence[float]) -> Spread:
    """How many times ``base`` the ``samples`` take.

    Samples of the same round are divided by one another, so that what slows a whole round down cancels. Where one side was measured
    fewer times (a contestant too slow for many rounds), its median is divided instead.
    """
    if len(samples) == len(base):
        return spread([a / b for a, b in zip(samples, base, strict=True)])
    middle = statistics.median(base)
    return Spread(*(value / middle for value in spread(samples)))


def geometric_mean(values: Sequence[float]) -> float:
    """The mean of ratios."""
    return math.exp(statistics.fmean(math.log(value) for value in values))


def growth_exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """The slope of log y against log x by least squares: y grows as x to this power.

    Raises:
        ValueError: If there are fewer than two points.
    """
    if len(x) < 2:
        raise ValueError(f"expected at least two points, got {len(x)}")
    return statistics.linear_regression([math.log(v) for v in x], [math.log(v) for v in y]).slope
