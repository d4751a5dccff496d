"""Which lines a model of handwriting has met: those that it is tested on should not be among them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spatial_lstm.cli.htr_data import among, given_parts

if TYPE_CHECKING:
    from spatial_lstm.handwriting.data import Lines, Parts
    from spatial_lstm.handwriting.training import HandwritingTask


def met(record: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Digests of the lines that a model has met, by the part in which it did: those of its run, and what it was trained on before that.

    Args:
        record: The model's.
    """
    from spatial_lstm.handwriting.data.parts import PARTS

    task = record.get("task", {})
    found = {part: frozenset(task.get("digests", {}).get(part, ())) for part in PARTS}
    return {**found, "train": found["train"].union(task.get("met_before", ()))}


def met_among(lines: Lines, record: Mapping[str, Any], *, height: int) -> dict[str, Lines]:
    """Those of some lines of files that a model has met, by the part in which it did.

    They are known by their pixels, or by their place on a page where the files of the model's run are at hand as they were.

    Args:
        lines: Of files.
        record: The model's.
        height: Of the network's lines, pixels.
    """
    from spatial_lstm.handwriting.data import Lines
    from spatial_lstm.handwriting.training.task import digest

    again = _parts_again(record, lines, height=height)
    digests = [digest(line, height) for line in lines]
    found = {}
    for part, known in met(record).items():
        placed = set() if again is None else set(among(lines, getattr(again, part)))
        found[part] = Lines(line for line, own in zip(lines, digests, strict=True) if own in known or line in placed)
    return found


def met_notes(task: HandwritingTask) -> list[str]:
    """What is to be said of lines for validation and test that were trained on, in this run or before it."""
    notes = []
    for part in ("validation", "test"):
        own = task.digests[part]
        for known, what in (
            (task.met_before, "were trained on by the model of --load"),
            (frozenset(task.digests["train"]), "are the same picture as a line that is trained on"),
        ):
            if count := sum(found in known for found in own):
                notes.append(f"{part}: {count} of {len(own)} lines {what}")
    return notes


def _parts_again(record: Mapping[str, Any], lines: Lines, *, height: int) -> Parts | None:
    """The parts of the run that a model is of, if some of these lines are among its data, and these are at hand as they were.

    Args:
        record: The model's.
        lines: Of files.
        height: Of the network's lines, pixels.
    """
    from spatial_lstm.handwriting.training.task import fingerprint

    notes, told = record.get("notes", {}), record.get("task", {}).get("data", {})
    homes = {Path(path) for name in ("data", "validation", "test") for path in notes.get(name) or ()}
    files = {path.resolve() for line in lines for path in (line.file, line.picture)}
    # a page's picture may lie in the folder above its XML, and other XML tell of it
    near = {folder for home in homes for folder in home.parents[:2]}
    if not any(homes & {file, *file.parents} or file.parent in near for file in files):
        return None
    try:
        parts = given_parts({"validation": None, "test": None, "seed": 0, **notes}, height=height).parts
    except (OSError, ValueError):
        return None
    return parts if fingerprint(parts.train, height) == told.get("train") else None
