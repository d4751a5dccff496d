"""Numbers on a command line, each refused where it makes no sense."""

from __future__ import annotations

import argparse
import math


def positive_int(text: str) -> int:
    """1, 2, .."""
    return _int(text, 1)


def non_negative_int(text: str) -> int:
    """0, 1, .."""
    return _int(text, 0)


def positive_float(text: str) -> float:
    """Above 0, finite."""
    value = _float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value


def non_negative_float(text: str) -> float:
    """From 0 on, finite."""
    value = _float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text}")
    return value


def threads(text: str) -> int | str:
    """1, 2, .. or ``"auto"``."""
    return text if text == "auto" else _int(text, 1)


def finite_float(text: str) -> float:
    """Any number but those that are none, and infinite ones."""
    return _float(text)


def _int(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text}")
    return value


def _float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, got {text}")
    return value
