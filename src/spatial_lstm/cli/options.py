"""Options that commands that train have in common.

A command that trains keeps the options that make a run what it is in a table of defaults; the parser leaves None for what is not given, so
that a resumed run can tell what was said this time from what it was begun with.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from spatial_lstm.arguments import names_data_set
from spatial_lstm.cli.numbers import non_negative_float, non_negative_int, positive_int, threads

RUN: dict[str, Any] = {
    "seed": 0,
    "threads": "auto",
    "validate_every": 100,
    "patience": 0,
    "checkpoint_seconds": 60.0,
    "autocast": False,
}
# What is a path, unless it names a data set.
PATHS = ("data", "validation", "test")
# What a resumed run may be told otherwise, besides where its data are.
MAY_DIFFER = {"threads"}
DEVICES = ("cpu", "cuda")


def add_group(
    parser: argparse.ArgumentParser, title: str, defaults: Mapping[str, Any], **options: dict[str, Any]
) -> None:
    """Add those of a title's options that have defaults; one whose default is False is a flag, numbers are N, and no path is empty."""
    group = parser.add_argument_group(title)
    for name, settings in options.items():
        if name not in defaults:
            continue
        default = defaults[name]
        if name in PATHS:
            settings = {"type": path_text, **settings}
        if default is False:
            settings = {**settings, "action": "store_const", "const": True}
        elif default is not None:
            settings = {**settings, "help": f"{settings['help']} (default: {default})"}
        if "type" in settings and "choices" not in settings:
            settings = {"metavar": "N", **settings}
        group.add_argument("--" + name.replace("_", "-"), default=None, **settings)


def add_run_options(parser: argparse.ArgumentParser, defaults: Mapping[str, Any], out: str) -> None:
    """Add the options that tell how and where to run."""
    add_group(
        parser,
        "run",
        defaults,
        seed={"type": non_negative_int, "help": "of weights, data and their order"},
        threads={"type": threads, "help": "of the CPU; auto tries one and all"},
        tile={"type": positive_int, "metavar": "SIDE", "help": "of the tiles that are scored, each by itself"},
        validation_tiles={"type": positive_int, "help": "tiles that weights are chosen by"},
        validate_every={"type": positive_int, "metavar": "STEPS", "help": "steps between validations"},
        patience={"type": non_negative_int, "help": "validations without improvement that end a stage; 0 for never"},
        checkpoint_seconds={"type": non_negative_float, "help": "between checkpoints"},
        autocast={"help": "compute the recurrence in bfloat16"},
    )
    group = parser.add_argument_group("where")
    group.add_argument("--out", type=path, default=Path(out), help="folder to write into (default: %(default)s)")
    what = group.add_mutually_exclusive_group()
    what.add_argument("--resume", action="store_true", help="continue what --out holds, with the options it has")
    what.add_argument("--overwrite", action="store_true", help="begin anew, and lose a run that --out holds")
    group.add_argument("--device", choices=DEVICES, default="cpu", help="(default: %(default)s)")
    group.add_argument("--no-pictures", action="store_true", help="draw nothing in the end")


def given_options(
    args: argparse.Namespace, defaults: Mapping[str, Any], *, names: Collection[str] = ()
) -> dict[str, Any]:
    """The options that were given; paths in full, so that a run can be resumed from anywhere, but for the names of data sets."""
    given = {name: getattr(args, name) for name in defaults if getattr(args, name) is not None}
    for name in given.keys() & set(PATHS):
        value = given[name]
        given[name] = [_full(each, names) for each in value] if isinstance(value, list) else _full(value, names)
    return given


def path_text(text: str) -> str:
    """For a parser: what may name a path. An empty text, such as a shell's variable that is not set, would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got an empty text")
    return text


def path(text: str) -> Path:
    """For a parser: a path."""
    return Path(path_text(text))


def full_path(text: str) -> str:
    """For a parser: a path in full, so that a run can be resumed from anywhere."""
    return str(path(text).resolve())


def _full(text: str, names: Collection[str]) -> str:
    return text if names_data_set(text, names) else full_path(text)


def refuse_given(given: Mapping[str, Any], names: tuple[str, ...], wanted: str) -> None:
    """Refuse options that do not go with another.

    Raises:
        ValueError: If one of ``names`` was given.
    """
    found = ["--" + name.replace("_", "-") for name in names if name in given]
    if found:
        raise ValueError(f"expected {wanted}, got {', '.join(found)}")
