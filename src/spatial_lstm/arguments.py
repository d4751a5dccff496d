"""Checks of single arguments that every room makes; imports nothing of the package."""

from __future__ import annotations


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
