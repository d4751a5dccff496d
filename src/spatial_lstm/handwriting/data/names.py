"""Files by their names, which other systems may tell in another case or in another normal form of Unicode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from spatial_lstm.handwriting.data.find import plain_name


class Folders:
    """Looks for files in their folders, each of which is listed once."""

    def __init__(self) -> None:
        self._listed: dict[Path, dict[str, list[Path]]] = {}

    def file(self, path: Path) -> Path | None:
        """A file, or the only one in its folder whose name is told apart by case or by the normal form of Unicode alone."""
        try:
            if path.is_file():
                return path
            if path.parent not in self._listed:
                self._listed[path.parent] = by_name(path.parent.iterdir())
        except OSError:  # a name that no file can have, no folder
            return None
        others = [other for other in alike(self._listed[path.parent], path.name) if other.is_file()]
        return others[0] if len(others) == 1 else None


def by_name(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Paths for :func:`alike`."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(plain_name(path.name), []).append(path)
    return found


def alike(paths: Mapping[str, list[Path]], name: str) -> list[Path]:
    """Those of just this name, or else those whose names are the same to some systems."""
    found = paths.get(plain_name(name), [])
    return [path for path in found if path.name == name] or found
