"""Read pictures of handwritten lines, or pages whose ALTO or PAGE XML says where the lines are: one line of text for each.

For example: read out/charters page.xml --write-back page-read.xml
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from spatial_lstm.cli.errors import input_errors
from spatial_lstm.cli.htr_data import lines_of
from spatial_lstm.cli.htr_models import add_reader_arguments, open_reader, transcribe
from spatial_lstm.cli.models import refuse_existing
from spatial_lstm.cli.options import path, path_text
from spatial_lstm.cli.runs import require

if TYPE_CHECKING:
    from spatial_lstm.handwriting import Transcription
    from spatial_lstm.handwriting.data import Line, Lines
    from spatial_lstm.handwriting.data.report import Report

# A picture as high as this, in pixels, and not twice as wide is rather a page than a line.
PAGE = 400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_reader_arguments(parser)
    parser.add_argument(
        "paths",
        type=path_text,
        nargs="+",
        metavar="PATH",
        help="pictures of lines, ALTO or PAGE XML beside the pages' pictures, whose lines are read in the order of the file, "
        "folders or lists of such",
    )
    parser.add_argument(
        "--confidence",
        action="store_true",
        help="before each text, and a tab: how probable its characters are, their geometric mean, from 0 to 1",
    )
    parser.add_argument("--names", action="store_true", help="before each text its file and line, and a tab")
    parser.add_argument(
        "--write-back", type=path, metavar="FILE", help="write a copy of the one XML file with the texts put in"
    )
    parser.add_argument(
        "--json", type=path, metavar="FILE", help="write the texts with the confidence of each character"
    )
    parser.add_argument("--overwrite", action="store_true", help="lose files that are written to")


def run(args: argparse.Namespace) -> int:
    """Print the texts to standard output, and to standard error what could not be read; 1 if that is something.

    Raises:
        UsageError: If the model or the pictures are not usable, or there is nothing to write back into.
    """
    require("PIL")
    with input_errors():
        for name in ("write_back", "json"):
            if getattr(args, name):
                refuse_existing(getattr(args, name), args.overwrite, "--" + name.replace("_", "-"))
        reader = open_reader(args)
        lines, report = lines_of(args.paths, height=reader.model.height, texts=False)
        if not (lines or report.left_out):
            raise ValueError(f"expected pictures of lines, or ALTO or PAGE XML, got none in {' '.join(args.paths)}")
        source = _source(args, lines)
    _tell_left_out(lines, report)
    found = transcribe(args, reader, lines)
    for line, read in zip(lines, found, strict=True):
        names = [" ".join(filter(None, (str(line.file), line.id if line.outline else "")))] if args.names else []
        confidence = [f"{read.confidence:.3f}"] if args.confidence else []
        print(*names, *confidence, read.text, sep="\t")
    with input_errors():
        if source is not None:
            _write_back(source, lines, found, args)
        if args.json:
            _write_json(args.json, lines, found)
    return 1 if report.left_out else 0


def _source(args: argparse.Namespace, lines: Lines) -> Path | None:
    """The XML file to write back into.

    Raises:
        ValueError: If there is none, or several, or it cannot be written into.
    """
    from spatial_lstm.handwriting.data import check_writable

    if not args.write_back:
        return None
    sources = list(dict.fromkeys(line.file for line in lines))
    if len(sources) != 1 or lines[0].outline is None:
        told = ", ".join(str(path) for path in sources[:3]) or "no line"
        raise ValueError(f"expected one ALTO or PAGE XML file to write back into, got {told}")
    check_writable(sources[0])
    return sources[0]


def _tell_left_out(lines: Lines, report: Report) -> None:
    """Say on standard error what could not be read, and what is hardly a line."""
    for entry in report.left_out:
        where = " ".join(filter(None, (entry.file, entry.line)))
        print(f"read: left out {where}: {': '.join(filter(None, (entry.reason, entry.detail)))}", file=sys.stderr)
    for line in lines:
        height, width = line.image().shape if line.outline is None else (0, 0)
        if height >= PAGE and width < 2 * height:
            told = f"{width}x{height} pixels, is read as a single line; is it a page? Give the XML that says where lines are"
            print(f"read: {line.file}, {told}", file=sys.stderr)


def _write_back(source: Path, lines: Lines, found: list[Transcription], args: argparse.Namespace) -> None:
    from spatial_lstm.handwriting.data import LineText, write_page

    readings = {line.id: LineText(read.text, read.confidence) for line, read in zip(lines, found, strict=True)}
    write_page(source, readings, args.write_back, overwrite=args.overwrite)


def _write_json(path: Path, lines: Lines, found: list[Transcription]) -> None:
    from spatial_lstm.files import write_atomically

    told = [_told(line, read) for line, read in zip(lines, found, strict=True)]
    text = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
    # Names of files may have bytes that are no characters; JSON writes these as Python escapes them.
    write_atomically(path, lambda file: file.write(text.encode(errors="backslashreplace")))


def _told(line: Line, read: Transcription) -> dict[str, object]:
    """What JSON takes of a line; its characters are in the order on paper, from left to right."""
    return {
        "file": str(line.file),
        "line": line.id,
        "text": read.text,
        "confidence": read.confidence,
        "characters": [[character, round(confidence, 4)] for character, confidence in read.characters],
    }
