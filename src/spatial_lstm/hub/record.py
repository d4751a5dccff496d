"""What of a model file is published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEPT = ("model", "score", "unit", "steps", "task", "notes", "version", "result", "language")
# Of what is reported of lines: their texts, and the files that they are from.
PRIVATE = ("worst", "pages", "read")

# A path from the root, from a home or upward, within a sentence.
PLACE = re.compile(r"(?<![\w.~:/])(?:~\w*|(?:\.\./)*\.\.)?/[^\s'\",;:)]+")


def publishable(content: Mapping[str, Any]) -> dict[str, Any]:
    """A model file's content without the state of the optimizer, where files were on the machine, and the texts of single lines.

    Args:
        content: What :func:`spatial_lstm.training.read_model` returned.
    """
    told = {name: value for name, value in content.items() if name in KEPT}
    for name in told.keys() & {"task", "notes", "result"}:
        told[name] = _without_places(told[name])
    return told


def _without_places(value: Any) -> Any:
    """The same with paths shortened to names, and without what is :data:`PRIVATE`."""
    if isinstance(value, Mapping):
        return {name: _without_places(each) for name, each in value.items() if name not in PRIVATE}
    if isinstance(value, (list, tuple)):
        return [_without_places(each) for each in value]
    if isinstance(value, (str, Path)) and str(value).startswith(("/", "~", "../")):
        return Path(value).name
    return PLACE.sub(lambda found: Path(found[0]).name, value) if isinstance(value, str) else value
