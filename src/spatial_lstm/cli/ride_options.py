"""What a run of RIDE can be told, and what is made of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spatial_lstm.cli.numbers import non_negative_float, non_negative_int, positive_float, positive_int

if TYPE_CHECKING:
    from spatial_lstm.image_models import ImageModel
    from spatial_lstm.image_models.training import ImageStage

# The options that make a run what it is. A resumed run has those that it was begun with; the parser leaves None for what is not given.
DEFAULTS: dict[str, Any] = {
    "data": "deadleaves",
    "color": False,
    "limit": None,
    "seed": 0,
    "hidden": 64,
    "layers": 1,
    "greedy": False,
    "extended": False,
    "multiscale": False,
    "neighborhood": 5,
    "components": 32,
    "scales": 4,
    "features": 32,
    "schedule": "adam",
    "steps": 4000,
    "patch": 22,
    "rate": 2e-2,
    "final_rate": 5e-4,
    "epochs": 1.0,
    "batch": None,
    "finetune": None,
    "autocast": False,
    "validate_every": 100,
    "patience": 0,
    "checkpoint_seconds": 60.0,
}
# Those that tell the data.
DATA = ("data", "seed", "color", "limit")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of :data:`DEFAULTS`."""
    _add(
        parser.add_argument_group("data"),
        data={"help": "deadleaves, textures, brick, grass, gravel, photos, or a folder of pictures"},
        color={"help": "three channels: luma first, then chroma"},
        limit={"type": positive_int, "metavar": "N", "help": "at most N training images"},
    )
    _add(
        parser.add_argument_group("model"),
        hidden={"type": positive_int, "help": "features of the hidden state"},
        layers={"type": positive_int, "help": "of the LSTM"},
        greedy={"help": "add layers one by one, the schedule run for each"},
        extended={"help": "let the cell states into the gates"},
        multiscale={"help": "a coarse image first, then its details"},
        neighborhood={"type": positive_int, "help": "width of the causal window, odd"},
        components={"type": positive_int, "help": "of the mixture"},
        scales={"type": positive_int, "help": "of each component"},
        features={"type": positive_int, "help": "of the mixture's gates"},
    )
    _add(
        parser.add_argument_group("schedule"),
        schedule={"choices": ("adam", "sgd"), "help": "sgd: growing patches and L-BFGS, as published"},
        steps={"type": positive_int, "help": "of Adam"},
        patch={"type": positive_int, "help": "side of Adam's patches"},
        rate={"type": positive_float, "help": "Adam's, at its highest"},
        final_rate={"type": positive_float, "help": "Adam's, at the end"},
        epochs={"type": positive_float, "help": "of each stage of sgd"},
        batch={"type": positive_int, "help": "patches a step (default: 20 with adam, 50 with sgd)"},
        finetune={
            "type": non_negative_int,
            "metavar": "N",
            "help": "L-BFGS iterations after each stage (default: 0 with adam, 500 with sgd)",
        },
    )
    _add(
        parser.add_argument_group("run"),
        seed={"type": non_negative_int, "help": "of weights, data and their order"},
        autocast={"help": "compute the recurrence in bfloat16"},
        validate_every={"type": positive_int, "metavar": "STEPS", "help": "steps between validations"},
        patience={"type": non_negative_int, "help": "validations without improvement that end a stage; 0 for never"},
        checkpoint_seconds={"type": non_negative_float, "help": "between checkpoints"},
    )


def _add(group: argparse._ArgumentGroup, **options: dict[str, Any]) -> None:
    """Add options whose defaults stand in :data:`DEFAULTS`; one whose default is False is a flag."""
    for name, settings in options.items():
        default = DEFAULTS[name]
        if default is False:
            settings = {**settings, "action": "store_const", "const": True}
        elif default is not None:
            settings = {**settings, "help": f"{settings['help']} (default: {default})"}
        group.add_argument("--" + name.replace("_", "-"), default=None, **settings)


def given_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of :data:`DEFAULTS` that were given; a folder of pictures by its full path."""
    from spatial_lstm.image_models.data import NAMES

    given = {name: getattr(args, name) for name in DEFAULTS if getattr(args, name) is not None}
    if "data" in given and given["data"] not in NAMES:
        given["data"] = str(Path(given["data"]).resolve())
    return given


def make_model(chosen: argparse.Namespace, channels: int) -> ImageModel:
    """Return the model that was chosen, untrained.

    Raises:
        ValueError: If options do not go together.
    """
    from spatial_lstm.image_models import RIDE, ColorRIDE, MultiscaleRIDE

    if chosen.color and chosen.multiscale:
        raise ValueError("expected --color or --multiscale, got both")
    options = {
        "neighborhood": chosen.neighborhood,
        "hidden_size": chosen.hidden,
        "num_layers": 1 if chosen.greedy else chosen.layers,
        "extended": chosen.extended,
        "components": chosen.components,
        "scales": chosen.scales,
        "features": chosen.features,
    }
    if chosen.color:
        return ColorRIDE(**options)
    return MultiscaleRIDE(**options) if chosen.multiscale else RIDE(channels, **options)


def make_stages(chosen: argparse.Namespace) -> list[ImageStage]:
    """Return the schedule that was chosen."""
    from spatial_lstm.image_models.training import adam, layer_by_layer, staged_sgd

    if chosen.schedule == "sgd":
        stages = staged_sgd(
            epochs=chosen.epochs,
            batch=50 if chosen.batch is None else chosen.batch,
            finetune=500 if chosen.finetune is None else chosen.finetune,
        )
    else:
        stages = adam(
            chosen.steps,
            patch=chosen.patch,
            rate=chosen.rate,
            final_rate=chosen.final_rate,
            batch=20 if chosen.batch is None else chosen.batch,
            finetune=chosen.finetune or 0,
        )
    return layer_by_layer(stages, chosen.layers) if chosen.greedy else stages
