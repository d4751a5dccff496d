"""The lines that commands on handwriting are given, and what they tell of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spatial_lstm.arguments import names_data_set
from spatial_lstm.cli.htr_options import NAMES
from spatial_lstm.cli.scores import listed

if TYPE_CHECKING:
    from spatial_lstm.handwriting import Codec, HandwritingRecognizer
    from spatial_lstm.handwriting.data import Line, Lines, Parts
    from spatial_lstm.handwriting.data.report import Report

# Entries of the table of what was left out that are printed; all are in the result.
SHOWN = 20
HELD_OUT = 0.1
# Lines whose outlines have more than this in common are one: neighbors' boxes on a slanted page come to some 0.4.
SAME = 0.5


@dataclass
class Given:
    """Lines as a command was given them.

    Attributes:
        parts: To train on, to choose by, to report on.
        reports: What was kept and left out, by the option that named it.
        notes: What else is to be said.
    """

    parts: Parts
    reports: dict[str, Report] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def told(self) -> Iterator[str]:
        """What there is to say of the lines, with the table of what was left out."""
        for name, report in self.reports.items():
            yield f"--{name}: {report.summary()}"
            if report.left_out:
                yield report.markdown(SHOWN)
        yield from self.notes


def given_parts(options: Mapping[str, Any], *, height: int) -> Given:
    """Read and divide the lines of a run's options.

    Args:
        options: ``data``, ``validation``, ``test``, ``digits``, and ``seed`` for what is drawn.
        height: Of the network's lines, pixels.

    Raises:
        FileNotFoundError: If a path is not there.
        ValueError: If it is none of lines, they are too few, or lines are trained on and reported on at once.
    """
    from spatial_lstm.handwriting.data import Parts, divide
    from spatial_lstm.handwriting.training import digit_lines

    if len(options["data"]) == 1 and names_data_set(options["data"][0], NAMES):
        return Given(digit_lines(options.get("digits"), seed=options["seed"]))
    reports: dict[str, Report] = {}
    read: dict[str, Lines] = {}
    for name in ("data", "validation", "test"):
        if options[name] is not None:
            read[name], reports[name] = lines_of(options[name], height=height)
            if not read[name]:
                raise ValueError(f"expected lines with texts in --{name}, got none: {reports[name].summary()}")
    drawn = {
        "validation": 0.0 if "validation" in read else HELD_OUT,
        "test": 0.0 if len(read) > 1 else HELD_OUT,
    }
    divided = divide(read["data"], **drawn, seed=options["seed"])
    parts = Parts(divided.train, read.get("validation", divided.validation), read.get("test", divided.test))
    _check_apart(parts)
    unused = sum(len(getattr(divided, name)) for name in read.keys() & {"validation", "test"})
    notes = [f"{unused} lines of --data are named for what other options give, and not used"] if unused else []
    return Given(parts, reports, notes)


def among(lines: Lines, others: Lines) -> Lines:
    """Those of the lines that are among others, too: by their name, or by their place on a page whatever its XML calls them."""
    from spatial_lstm.handwriting.data import Lines

    known = set(map(_key, others))
    on_picture: dict[Path, list[Line]] = {}
    for other in others:
        on_picture.setdefault(other.picture.resolve(), []).append(other)
    return Lines(
        line
        for line in lines
        if _key(line) in known or any(_same_place(line, other) for other in on_picture.get(line.picture.resolve(), ()))
    )


def lines_of(paths: Sequence[str], *, height: int, texts: bool = True) -> tuple[Lines, Report]:
    """Read lines, with a progress bar for those who look; see :func:`spatial_lstm.handwriting.data.read_lines`."""
    from spatial_lstm.handwriting.data import read_lines

    if names := [path for path in paths if path in NAMES]:
        raise ValueError(f"expected files or folders, got {names[0]}")
    return read_lines(*paths, texts=texts, height=height, track=_tracked)


def fit_notes(parts: Parts, codec: Codec, model: HandwritingRecognizer) -> list[str]:
    """What is to be said of lines that a network can't learn or read as they are."""
    notes = []
    for name in ("validation", "test"):
        unknown = codec.unknown(getattr(parts, name).texts())
        if unknown:
            told = listed([f"{character!r} ({count})" for character, count in unknown.most_common()])
            notes.append(f"{name} has characters that training never sees, which count as errors: {told}")
    if narrow := _narrow(parts.train, codec, model):
        notes.append(
            f"{len(narrow)} training lines are too narrow for their text, and continued with paper: {listed(narrow)}"
        )
    return notes


def _narrow(lines: Lines, codec: Codec, model: HandwritingRecognizer) -> list[str]:
    """The lines that have fewer columns than their text needs."""
    import torch

    from spatial_lstm.handwriting import columns_needed

    columns = model.columns(torch.tensor([line.image(model.height).shape[1] for line in lines])).tolist()
    found = []
    for line, text, count in zip(lines, lines.texts(), columns, strict=True):
        target = torch.tensor([codec.encode(text, skip_unknown=True)])
        if count < int(columns_needed(target, torch.tensor([target.shape[1]]))):
            found.append(" ".join(filter(None, (line.page, line.id))))
    return found


def _check_apart(parts: Parts) -> None:
    """Refuse to report on what is trained on."""
    for name in ("validation", "test"):
        for line in among(getattr(parts, name), parts.train):
            raise ValueError(f"expected other lines for {name} than those trained on, got {line.id} in both")


def _key(line: Line) -> tuple[Path, str]:
    """The same for what is the same line, however it was named."""
    return line.picture.resolve(), line.id if line.outline else ""


def _same_place(line: Line, other: Line) -> bool:
    """Whether two lines of one picture are the same; one that is all of the picture is any in it."""
    from spatial_lstm.handwriting.data.outline import overlap

    return line.outline is None or other.outline is None or overlap(line.outline, other.outline) > SAME


def _tracked(lines: Sequence[Line]) -> Iterator[Line]:
    from spatial_lstm.training import Bar

    with Bar(len(lines), label="lines", unit="line", leave=False) as bar:
        for done, line in enumerate(lines):
            bar.move_to(done)
            yield line
