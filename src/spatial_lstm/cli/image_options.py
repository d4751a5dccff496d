"""Options that commands on image models have in common.

A command that trains keeps the options that make a run what it is in a table of defaults; the parser leaves None for what is not given, so
that a resumed run can tell what was said this time from what it was begun with.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spatial_lstm.cli.numbers import non_negative_float, non_negative_int, positive_float, positive_int, threads

DATA: dict[str, Any] = {
    "data": "deadleaves",
    "validation": None,
    "test": None,
    "color": False,
    "gray": "luma",
    "binarize": None,
    "limit": None,
}
RUN: dict[str, Any] = {
    "seed": 0,
    "threads": "auto",
    "tile": 64,
    "validation_tiles": 64,
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
    """Add those of a title's options that have defaults; one whose default is False is a flag, and numbers are N."""
    group = parser.add_argument_group(title)
    for name, settings in options.items():
        if name not in defaults:
            continue
        default = defaults[name]
        if default is False:
            settings = {**settings, "action": "store_const", "const": True}
        elif default is not None:
            settings = {**settings, "help": f"{settings['help']} (default: {default})"}
        if "type" in settings and "choices" not in settings:
            settings = {"metavar": "N", **settings}
        group.add_argument("--" + name.replace("_", "-"), default=None, **settings)


def add_data_options(parser: argparse.ArgumentParser, defaults: Mapping[str, Any]) -> None:
    """Add the options that tell which images are trained on."""
    add_group(
        parser,
        "data",
        defaults,
        data={
            "metavar": "PATH",
            "help": "a folder of pictures, one with train and test folders, one with MNIST's files, or a name: "
            "deadleaves, textures, brick, grass, gravel, photos",
        },
        validation={"metavar": "PATH", "help": "images to choose the best weights by, instead of a part of --data"},
        test={"metavar": "PATH", "help": "images to report on, instead of a part of --data"},
        color={"help": "three channels instead of one"},
        gray={"choices": ("luma", "mean"), "help": "how colors turn to gray: as PIL does, or the mean of R, G and B"},
        binarize={
            "choices": ("threshold", "sample"),
            "help": "black and white: 1 from 128 on, or with chance pixel/255",
        },
        limit={"type": positive_int, "help": "at most N training images"},
    )


def add_schedule_options(
    parser: argparse.ArgumentParser,
    defaults: Mapping[str, Any],
    *,
    batch: str = "",
    finetune: str = "",
    patch: str = "",
) -> None:
    """Add the options that tell how long and how fast is trained; of some it can be said what they follow from."""
    add_group(
        parser,
        "schedule",
        defaults,
        schedule={"choices": ("adam", "sgd"), "help": "sgd: growing patches and L-BFGS, as published"},
        steps={"type": positive_int, "help": "of Adam"},
        minutes={
            "type": positive_float,
            "help": "to train for, instead of a number of steps; scores and pictures follow",
        },
        patch={"type": positive_int, "help": f"side of the patches that Adam trains on{patch}"},
        rate={"type": positive_float, "help": "Adam's, at its highest"},
        final_rate={"type": positive_float, "help": "Adam's, at the end"},
        epochs={"type": positive_float, "help": "of each stage of sgd"},
        batch={"type": positive_int, "help": f"patches a step{batch}"},
        mirror={"help": "train on mirror images, too"},
        no_mirror={"help": "don't train on mirror images"},
        finetune={
            "type": non_negative_int,
            "help": f"L-BFGS iterations on the mixture after each stage{finetune}",
        },
        finetune_pixels={"type": positive_int, "help": "pixels that L-BFGS looks at"},
    )


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
    group.add_argument("--out", type=Path, default=Path(out), help="folder to write into (default: %(default)s)")
    what = group.add_mutually_exclusive_group()
    what.add_argument("--resume", action="store_true", help="continue what --out holds, with the options it has")
    what.add_argument("--overwrite", action="store_true", help="begin anew, and lose a run that --out holds")
    group.add_argument("--device", choices=DEVICES, default="cpu", help="(default: %(default)s)")
    group.add_argument("--no-pictures", action="store_true", help="draw nothing in the end")


def given_options(args: argparse.Namespace, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given; paths in full, so that a run can be resumed from anywhere."""
    from spatial_lstm.image_models.data import NAMES

    given = {name: getattr(args, name) for name in defaults if getattr(args, name) is not None}
    for name in PATHS:
        if name in given and given[name] not in NAMES:
            given[name] = str(Path(given[name]).resolve())
    return given


@contextmanager
def told_in_notes() -> Iterator[None]:
    """Around what loads images, whose notes are printed: no warning that says the same."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* files skipped: ")
        yield


def refuse_given(given: Mapping[str, Any], names: tuple[str, ...], wanted: str) -> None:
    """Refuse options that do not go with another.

    Raises:
        ValueError: If one of ``names`` was given.
    """
    found = ["--" + name.replace("_", "-") for name in names if name in given]
    if found:
        raise ValueError(f"expected {wanted}, got {', '.join(found)}")
