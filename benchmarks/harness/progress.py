"""How far a benchmark is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def watched(items: Iterable[Item], label: str, total: int | None = None) -> Iterable[Item]:
    """The items, a bar moving on a terminal as they are taken."""
    bar: Iterable[Item] = tqdm(items, desc=label, total=total, disable=None)
    return bar
