"""Trained readers of handwriting on the command line: which one, where it computes, how it looks for texts."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from spatial_lstm.cli.models import add_model_arguments, choose_threads
from spatial_lstm.cli.numbers import positive_int

if TYPE_CHECKING:
    from spatial_lstm.handwriting import LineReader, Transcription
    from spatial_lstm.handwriting.data import Lines
    from spatial_lstm.handwriting.decoding import BeamSearch

# Lines that the number of threads is chosen by.
TRIED = 8
BEAM = 16


def add_reader_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, where it computes, and how it looks for texts."""
    add_model_arguments(parser)
    parser.add_argument(
        "--beam",
        type=positive_int,
        metavar="N",
        help="texts to follow at a time, for the most probable text (default: that of the most probable path)",
    )
    parser.add_argument(
        "--language",
        action="store_true",
        help=f"consider what characters followed which in training; with --beam {BEAM} unless another is given",
    )


def open_reader(args: argparse.Namespace) -> LineReader:
    """Open the model on its device.

    Raises:
        ValueError: If there is none, it knows no language that is asked for, or there is no such device.
    """
    from spatial_lstm.handwriting import LineReader
    from spatial_lstm.training import local_device

    device = local_device(args.device)
    reader = LineReader.load(args.model)
    reader.model.to(device)
    _decoder(args, reader)
    return reader


def transcribe(args: argparse.Namespace, reader: LineReader, lines: Lines) -> list[Transcription]:
    """Read lines, with as many threads as was asked for and a progress bar for those who look."""
    choose_threads(args, lambda: reader.texts(lines[:TRIED]))
    return reader.read(lines, decoder=_decoder(args, reader), track=_tracked)


def _decoder(args: argparse.Namespace, reader: LineReader) -> BeamSearch | None:
    """How a text is looked for.

    Raises:
        ValueError: If the model knows no language.
    """
    if not (args.beam or args.language):
        return None
    return reader.beam_search(args.beam or BEAM, language=args.language)


def _tracked(places: Sequence[int]) -> Iterator[int]:
    from spatial_lstm.training import Bar

    with Bar(len(places), label="read", unit="line", leave=False) as bar:
        for done, place in enumerate(places):
            bar.move_to(done)
            yield place
