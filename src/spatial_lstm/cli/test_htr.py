"""Test a trained reader of handwriting on lines or pages with their texts: error rates with intervals, by page, and which errors.

For example: test-htr out/charters --data others --json others.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from spatial_lstm.cli.errors import input_errors
from spatial_lstm.cli.htr_data import SHOWN, lines_of
from spatial_lstm.cli.htr_met import met_among
from spatial_lstm.cli.htr_models import add_reader_arguments, open_reader, transcribe
from spatial_lstm.cli.htr_options import LINES
from spatial_lstm.cli.models import refuse_existing
from spatial_lstm.cli.options import path, path_text
from spatial_lstm.cli.runs import require
from spatial_lstm.cli.scores import versions

if TYPE_CHECKING:
    from spatial_lstm.handwriting import Evaluation, LineReader
    from spatial_lstm.handwriting.data import Lines
    from spatial_lstm.handwriting.data.report import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_reader_arguments(parser)
    parser.add_argument("--data", type=path_text, nargs="+", required=True, metavar="PATH", help=f"{LINES}; or: digits")
    parser.add_argument(
        "--part",
        choices=("test", "validation", "train", "all"),
        help="of data that has parts, or that the model's run divided (default: test; all of other data)",
    )
    parser.add_argument(
        "--digits",
        type=path_text,
        metavar="FOLDER",
        help="MNIST's files, for --data digits (default: where training found them)",
    )
    parser.add_argument("--json", type=path, metavar="FILE", help="write the rates and all errors")
    parser.add_argument("--overwrite", action="store_true", help="lose a file that --json names")


def run(args: argparse.Namespace) -> int:
    """Print the error rates.

    Raises:
        UsageError: If the model or the lines are not usable.
    """
    from spatial_lstm.handwriting.metrics_tables import markdown
    from spatial_lstm.handwriting.training.task import compared

    require("rapidfuzz", "PIL")
    with input_errors():
        if args.json:
            refuse_existing(args.json, args.overwrite, "--json")
        reader = open_reader(args)
        lines, report, notes = _lines(args, reader)
    if report is not None:
        print(report.summary())
        if report.left_out:
            print(report.markdown(SHOWN))
    for note in notes:
        print(note)
    found = compared(lines, [read.text for read in transcribe(args, reader, lines)], reader.codec)
    print(markdown(found))
    if args.json:
        with input_errors():
            _write(args, reader, found, report, notes)
    return 0


def _lines(args: argparse.Namespace, reader: LineReader) -> tuple[Lines, Report | None, list[str]]:
    """The lines of the part that was asked for, and what is to be said of which they are."""
    from spatial_lstm.handwriting.training import digit_lines

    report: Report | None = None
    own: dict[str, Lines] = {}
    if args.digits and args.data != ["digits"]:
        raise ValueError(f"expected --digits with --data digits alone, got --data {' '.join(args.data)}")
    if args.data == ["digits"]:
        notes = reader.record.get("notes", {})
        parts = digit_lines(args.digits or notes.get("digits"), seed=notes.get("seed", 0))
        lines = parts.train + parts.validation + parts.test
    else:
        lines, report = lines_of(args.data, height=reader.model.height)
        own = met_among(lines, reader.record, height=reader.model.height)
    kept = _of_part(args, lines, own)
    if not kept:
        named = sorted({line.part for line in lines if line.part is not None})
        told = f", whose parts are {', '.join(named)}: choose one by --part" if named else ""
        why = "" if report is None else f": {report.summary()}"
        what = args.part or ("test" if named else "all")
        raise ValueError(f"expected lines of part {what} with texts, got none in {' '.join(args.data)}{told}{why}")
    return kept, report, list(_notes(args, lines, kept, own))


def _of_part(args: argparse.Namespace, lines: Lines, own: Mapping[str, Lines]) -> Lines:
    """Those of the part; data without parts are divided as the model's run divided them, if they are of it."""
    if args.part == "all":
        return lines
    if any(line.part is not None for line in lines):
        return lines.of_part(args.part or "test")
    if not any(own.values()):
        return lines if args.part is None else lines.of_part(args.part)
    found = own[args.part or "test"]
    return lines if args.part is None and not found else found


def _notes(args: argparse.Namespace, lines: Lines, kept: Lines, own: Mapping[str, Lines]) -> Iterator[str]:
    if len(kept) < len(lines):
        yield f"{len(kept)} of {len(lines)} lines, those of part {args.part or 'test'}: --part all takes all"
    for part, what in (("train", "were trained on"), ("validation", "chose the weights")):
        if count := len(set(kept) & set(own.get(part, ()))):
            yield f"{count} of {len(kept)} lines {what}"


def _write(
    args: argparse.Namespace, reader: LineReader, found: Evaluation, report: Report | None, notes: list[str]
) -> None:
    """Write the evaluation as JSON."""
    from spatial_lstm.files import write_atomically
    from spatial_lstm.handwriting.metrics_tables import to_dict

    record: dict[str, Any] = {name: value for name, value in reader.record.items() if name != "result"}
    task = {name: value for name, value in record.get("task", {}).items() if name not in ("digests", "met_before")}
    told = {
        **to_dict(found, worst=len(found.lines)),
        "data": args.data,
        "part": args.part,
        "beam": args.beam,
        "language": args.language,
        "read": None if report is None else report.to_dict(),
        "notes": notes,
        "model": {"path": str(args.model), "config": reader.model.config(), **record, "task": task},
        "versions": versions(),
    }
    text = json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(args.json, lambda file: file.write(text.encode(errors="backslashreplace")))
