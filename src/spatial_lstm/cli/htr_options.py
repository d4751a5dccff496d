"""What training a reader of handwriting can be told, and what is made of it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from spatial_lstm.cli.numbers import non_negative_float, positive_float, positive_int
from spatial_lstm.cli.options import RUN, add_group, add_run_options, full_path, path, refuse_given

if TYPE_CHECKING:
    from spatial_lstm.handwriting.training import Augmentation
    from spatial_lstm.training import Stage

# Data sets that need no files.
NAMES = ("digits",)
DIGITS_HEIGHT, HEIGHT = 32, 48
ARCHITECTURES = ("default", "graves", "graves-2009", "default-convolutions", "default-sequences")
NETWORK: dict[str, Any] = {"architecture": "default", "height": None, "cell": "stable", "dropout": 0.0}
AUGMENTATION: dict[str, Any] = {
    "augment_slant": 0.25,
    "augment_width": 0.12,
    "augment_height": 0.08,
    "augment_shift": 2.0,
    "augment_warp": None,
    "augment_stroke": None,
    "augment_ink": None,
}
# What is None there: nothing, but for digits, of which there are few.
DIGITS_AUGMENTATION = {"augment_warp": 2.0, "augment_stroke": 0.5, "augment_ink": 0.3}
DEFAULTS: dict[str, Any] = {
    "data": None,
    "validation": None,
    "test": None,
    "digits": None,
    "form": None,
    "load": None,
    **NETWORK,
    "steps": None,
    "minutes": None,
    "epochs": 50.0,
    "rate": 3e-3,
    "batch": 4,
    "augment": True,
    **AUGMENTATION,
    **RUN,
    "validate_every": None,
}
LINES = "folders with line pictures (a.png beside a.gt.txt), with ALTO or PAGE XML beside the pages' pictures, lists of such files"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_group(
        parser,
        "lines",
        DEFAULTS,
        data={
            "nargs": "+",
            "metavar": "PATH",
            "help": f"{LINES}, or: digits, strings of handwritten digits. Folders within that are called train, val "
            "and test are used as such; without them a tenth of the pages is held out for each of the latter two",
        },
        validation={"nargs": "+", "metavar": "PATH", "help": "lines to choose the best weights by"},
        test={"nargs": "+", "metavar": "PATH", "help": "lines to report on in the end"},
        digits={
            "type": full_path,
            "metavar": "FOLDER",
            "help": "MNIST's four IDX files, for --data digits (default: digits that come with scikit-learn)",
        },
        form={
            "choices": ("NFC", "NFD", "NFKC", "NFKD"),
            "help": "normal form of Unicode in which texts are learnt, read and compared (default: NFC)",
        },
    )
    add_group(
        parser,
        "model",
        DEFAULTS,
        load={
            "type": full_path,
            "metavar": "MODEL",
            "help": "go on from a trained model (a run's folder, its best.pt or a published one): its characters are kept, new ones added",
        },
        architecture={"choices": ARCHITECTURES, "help": "of the network; graves are hierarchies as published"},
        height={"type": positive_int, "help": f"of the lines in the network, pixels (default: {HEIGHT})"},
        cell={"choices": ("stable", "graves", "spatial", "diagonal"), "help": "of the two-dimensional layers"},
        dropout={"type": non_negative_float, "help": "probability, before the layers on columns"},
    )
    add_group(
        parser,
        "schedule",
        DEFAULTS,
        minutes={"type": positive_float, "help": "to train for; the learning rate falls in time"},
        epochs={"type": positive_float, "help": "times that all lines are seen, without --minutes"},
        steps={"type": positive_int, "help": "of the training, instead of epochs"},
        rate={"type": positive_float, "help": "learning rate at its highest"},
        batch={"type": positive_int, "help": "lines a step"},
    )
    _add_augmentation(parser)
    add_run_options(parser, DEFAULTS, "out/htr")


def check_options(chosen: argparse.Namespace, given: Mapping[str, Any]) -> None:
    """Refuse options that do not go together; fill in those that follow from others.

    Raises:
        ValueError: If some do not go together, or there are no data.
    """
    if chosen.data is None:
        raise ValueError("expected --data, a folder of lines or pages with their texts, got none")
    for name in ("data", "validation", "test"):
        if set(getattr(chosen, name) or ()) & set(NAMES) and (name != "data" or len(chosen.data) > 1):
            raise ValueError(f"expected {', '.join(NAMES)} alone as --data, got it in --{name}")
    if chosen.data == ["digits"]:
        refuse_given(given, ("validation", "test"), "options of --data digits")
    else:
        refuse_given(given, ("digits",), "--data digits with --digits")
    if chosen.minutes is not None:
        refuse_given(given, ("steps", "epochs"), "--minutes alone to say how long")
    elif chosen.steps is not None:
        refuse_given(given, ("epochs",), "--steps alone to say how long")
    if not chosen.augment:
        refuse_given(given, tuple(AUGMENTATION), "options of --no-augment")
    if chosen.load is not None:
        refuse_given(given, (*NETWORK, "form"), "options of --load, which brings its own network")
    chosen.form = chosen.form or "NFC"
    digits = chosen.data == ["digits"]
    chosen.height = chosen.height or (DIGITS_HEIGHT if digits else HEIGHT)
    for name, value in DIGITS_AUGMENTATION.items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, value if digits else 0.0)


def augmentation(chosen: argparse.Namespace) -> Augmentation | None:
    """What is done to training lines.

    Raises:
        ValueError: If a value is out of range.
    """
    from spatial_lstm.handwriting.training import Augmentation

    values = {name.removeprefix("augment_"): getattr(chosen, name) for name in AUGMENTATION}
    return Augmentation(**values) if chosen.augment else None


def stages(chosen: argparse.Namespace) -> list[Stage]:
    """The schedule that was chosen."""
    from spatial_lstm.handwriting.training import adamw

    names = ("epochs", "steps", "minutes", "rate", "batch")
    return adamw(**{name: getattr(chosen, name) for name in names})


def _add_augmentation(parser: argparse.ArgumentParser) -> None:
    add_group(
        parser,
        "augmentation",
        DEFAULTS,
        augment={
            "action": argparse.BooleanOptionalAction,
            "help": "change lines a little every time they are seen, as if written anew",
        },
        augment_slant={"type": non_negative_float, "help": "to either side, pixels for each pixel upward"},
        augment_width={"type": non_negative_float, "help": "narrower or wider, fraction"},
        augment_height={"type": non_negative_float, "help": "lower or higher, fraction"},
        augment_shift={"type": non_negative_float, "help": "along both axes, pixels"},
        augment_warp={
            "type": non_negative_float,
            "help": f"another amount every 16 pixels, pixels ({_default_of('augment_warp')})",
        },
        augment_stroke={
            "type": non_negative_float,
            "help": f"broader or finer strokes, fraction of a pixel on each side ({_default_of('augment_stroke')})",
        },
        augment_ink={"type": non_negative_float, "help": f"darker or lighter, fraction ({_default_of('augment_ink')})"},
    )
    parser.add_argument(
        "--show-augmented",
        type=path,
        metavar="FILE.png",
        help="draw some lines as training would see them, and train nothing",
    )


def _default_of(name: str) -> str:
    return f"default: 0, of digits {DIGITS_AUGMENTATION[name]:g}"
