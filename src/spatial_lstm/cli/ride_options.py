"""What a run of RIDE, or of a model that it is compared with, can be told, and what is made of it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from spatial_lstm.cli.image_options import DATA, LOAD, RUN, add_data_options, add_schedule_options
from spatial_lstm.cli.numbers import positive_int
from spatial_lstm.cli.options import add_group, add_run_options, refuse_given

if TYPE_CHECKING:
    from spatial_lstm.image_models import ImageModel
    from spatial_lstm.image_models.training import ImageStage

RECURRENCE: dict[str, Any] = {
    "cell": None,
    "hidden": 64,
    "layers": 1,
    "greedy": False,
    "extended": False,
    "multiscale": False,
}
MIXTURE: dict[str, Any] = {"components": 32, "scales": 4, "features": 32}
# What a trained model brings with it.
MODEL = ("model", "neighborhood", "color", *RECURRENCE, *MIXTURE)
KINDS = ("RIDE", "ColorRIDE", "MultiscaleRIDE", "MCGSMImage")
SCHEDULE: dict[str, Any] = {
    "schedule": "adam",
    "steps": 4000,
    "minutes": None,
    "patch": 22,
    "rate": 2e-2,
    "final_rate": 5e-4,
    "epochs": 1.0,
    "batch": None,
    "no_mirror": False,
    "symmetries": False,
    "finetune": None,
    "finetune_pixels": 200_000,
}
# The options that make a run what it is.
DEFAULTS: dict[str, Any] = {
    **{name: value for name, value in DATA.items() if name != "binarize"},
    "load": None,
    "model": "ride",
    "neighborhood": 5,
    **RECURRENCE,
    **MIXTURE,
    **SCHEDULE,
    **RUN,
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of :data:`DEFAULTS`, and where to write."""
    add_data_options(parser, DEFAULTS)
    add_group(
        parser,
        "model",
        DEFAULTS,
        load=LOAD,
        model={
            "choices": ("ride", "mcgsm", "linear"),
            "help": "mcgsm: the same mixture on the neighborhood alone; linear: a Gaussian whose mean is linear in it",
        },
        cell={
            "choices": ("stable", "spatial", "graves", "diagonal"),
            "help": "of the LSTM: stable holds on images of any size, spatial is the paper's "
            "(default: stable; spatial with --extended)",
        },
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
    by_schedule = " (default: {} with adam, {} with sgd)"
    add_schedule_options(parser, DEFAULTS, batch=by_schedule.format(20, 50), finetune=by_schedule.format(0, 500))
    add_run_options(parser, DEFAULTS, "out/ride")


def check_options(chosen: argparse.Namespace, given: Mapping[str, Any]) -> None:
    """Refuse options that do not go together; fill in those that follow from others.

    Raises:
        ValueError: If some do not go together.
    """
    if chosen.color and chosen.multiscale:
        raise ValueError("expected --color or --multiscale, got both")
    if chosen.model != "ride":
        refuse_given(given, tuple(RECURRENCE), f"options of --model {chosen.model}")
    if chosen.model == "linear":
        refuse_given(given, (*MIXTURE, *SCHEDULE), "options of --model linear, which is fitted in closed form")
    if chosen.schedule == "sgd":
        refuse_given(
            given, ("steps", "patch", "rate", "final_rate", "no_mirror", "symmetries"), "options of --schedule sgd"
        )
    else:
        refuse_given(given, ("epochs",), "options of --schedule adam")
    if chosen.symmetries and chosen.no_mirror:
        raise ValueError("expected --symmetries or --no-mirror, got both")
    if chosen.minutes is not None:
        refuse_given(given, ("steps", "epochs"), "--minutes alone to say how long")
    if chosen.cell is None:
        chosen.cell = "spatial" if chosen.extended else "stable"
    published = chosen.schedule == "sgd"
    chosen.batch = chosen.batch or (50 if published else 20)
    chosen.finetune = (500 if published else 0) if chosen.finetune is None else chosen.finetune


def make_model(chosen: argparse.Namespace, channels: int) -> ImageModel:
    """Return the model that was chosen, untrained.

    Raises:
        ValueError: If a size is out of range.
    """
    from spatial_lstm.image_models import RIDE, ColorRIDE, LinearGaussian, MCGSMImage, MultiscaleRIDE

    mixture = {name: getattr(chosen, name) for name in MIXTURE}
    if chosen.model == "linear":
        return LinearGaussian(channels, chosen.neighborhood)
    if chosen.model == "mcgsm":
        return MCGSMImage(channels, chosen.neighborhood, **mixture)
    options = {
        "neighborhood": chosen.neighborhood,
        "hidden_size": chosen.hidden,
        "num_layers": 1 if chosen.greedy else chosen.layers,
        "extended": chosen.extended,
        "cell": chosen.cell,
        **mixture,
    }
    if chosen.color:
        return ColorRIDE(**options)
    return MultiscaleRIDE(**options) if chosen.multiscale else RIDE(channels, **options)


def make_stages(chosen: argparse.Namespace, side: int) -> list[ImageStage]:
    """Return the schedule that was chosen; none for a model that is fitted in closed form."""
    from spatial_lstm.image_models.training import adam, layer_by_layer, staged_sgd

    if chosen.model == "linear":
        return []
    shared = {"minutes": chosen.minutes, "batch": chosen.batch, "finetune": chosen.finetune}
    if chosen.schedule == "sgd":
        stages = staged_sgd(epochs=chosen.epochs, **shared)
    else:
        stages = adam(
            None if chosen.minutes is not None else chosen.steps,
            patch=chosen.patch,
            rate=chosen.rate,
            final_rate=chosen.final_rate,
            mirror=not chosen.no_mirror,
            symmetries=chosen.symmetries,
            **shared,
        )
    return layer_by_layer(stages, chosen.layers) if chosen.greedy else stages
