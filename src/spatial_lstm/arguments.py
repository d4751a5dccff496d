"""Checks of single arguments that every room makes; imports nothing of the package."""

from __future__ import annotations

import os
from collections.abc import Collection


def check_positive_int(name: str, value: object) -> None:
    """Refuse anything but a positive int."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"expected {name} to be an int, got {type(value).__name__}")
    if value < 1:
        raise ValueError(f"expected {name} to be positive, got {value}")


def check_flag(name: str, value: object) -> None:
    """Refuse anything but a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"expected {name} to be a bool, got {type(value).__name__}")


def check_probability(name: str, value: object) -> None:
    """Refuse anything but a number from 0 to 1."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"expected {name} to be a float, got {type(value).__name__}")
    if not 0 <= value <= 1:
        raise ValueError(f"expected {name} from 0 to 1, got {value}")


def names_data_set(source: object, names: Collection[str]) -> bool:
    """Whether a text is one of the names of data sets, rather than a path.

    Raises:
        ValueError: If it is both: which one is meant cannot be told.
    """
    if not (isinstance(source, str) and source in names):
        return False
    if os.path.exists(source):
        how = f"write ./{source} for the path, or change to a folder without it"
        raise ValueError(f"expected a data set or a path, got {source!r}, which is both here: {how}")
    return True
