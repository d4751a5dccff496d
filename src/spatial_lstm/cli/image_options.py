"""Options that commands on image models have in common."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from spatial_lstm.cli.numbers import non_negative_int, positive_float, positive_int
from spatial_lstm.cli.options import RUN as ANY_RUN
from spatial_lstm.cli.options import add_group, full_path

DATA: dict[str, Any] = {
    "data": "deadleaves",
    "validation": None,
    "test": None,
    "color": False,
    "gray": "luma",
    "binarize": None,
    "limit": None,
}
RUN: dict[str, Any] = {**ANY_RUN, "tile": 64, "validation_tiles": 64}
# The option that names a trained model.
LOAD: dict[str, Any] = {
    "type": full_path,
    "metavar": "MODEL",
    "help": "go on from a trained model (a run's folder, its best.pt or a published one) instead of a new one",
}


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
            "help": "black and white: white from 128 on, or with chance pixel/255 (default: threshold, with --levels 2)",
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
        symmetries={"help": "train on all eight flips and transposes, for score --ensemble"},
        finetune={
            "type": non_negative_int,
            "help": f"L-BFGS iterations on the mixture after each stage{finetune}",
        },
        finetune_pixels={"type": positive_int, "help": "pixels that L-BFGS looks at"},
    )


@contextmanager
def told_in_notes() -> Iterator[None]:
    """Around what loads images, whose notes are printed: no warning that says the same."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* files skipped: ")
        yield
