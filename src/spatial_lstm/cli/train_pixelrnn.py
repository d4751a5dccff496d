"""Train PixelRNN, the generative model of discrete images, on digits such as MNIST's or on any pictures.

For example: train-pixelrnn --data mnist --minutes 30 --out out/digits
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from spatial_lstm.cli.image_options import DATA, LOAD, RUN, add_data_options, add_schedule_options
from spatial_lstm.cli.image_training import Recipe, train
from spatial_lstm.cli.numbers import positive_int
from spatial_lstm.cli.options import add_group, add_run_options
from spatial_lstm.cli.options import refuse_given as refuse

if TYPE_CHECKING:
    from spatial_lstm.image_models import ImageModel
    from spatial_lstm.image_models.training import ImageStage

# Side of the patches of large images; smaller ones are taken whole.
PATCH = 32
NETWORK: dict[str, Any] = {
    "levels": 2,
    "variant": "diagonal",
    "layers": 1,
    "hidden": 32,
    "head_features": None,
    "kernel": 7,
    "no_residual": False,
}
# What a trained model brings with it.
MODEL = ("color", *NETWORK)
DEFAULTS: dict[str, Any] = {
    **DATA,
    "data": None,
    "load": None,
    **NETWORK,
    "steps": 4000,
    "minutes": None,
    "patch": None,
    # Of the rates 2e-3, 5e-3 and 1e-2 the last two were best over the first 600 steps on binary MNIST; see benchmarks/mnist.py.
    "rate": 5e-3,
    "final_rate": 5e-5,
    "batch": 16,
    "mirror": False,
    **RUN,
    "validation_tiles": 500,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_data_options(parser, DEFAULTS)
    add_group(
        parser,
        "model",
        DEFAULTS,
        load=LOAD,
        levels={"type": int, "choices": (2, 256), "help": "values of a pixel's channels: black and white, or 8 bits"},
        variant={"choices": ("diagonal", "row"), "help": "the Diagonal BiLSTM, or the Row LSTM"},
        layers={"type": positive_int, "help": "recurrent layers"},
        hidden={"type": positive_int, "help": "features of the hidden state"},
        head_features={"type": positive_int, "help": "channels before the output (default: twice the hidden features)"},
        kernel={"type": positive_int, "help": "width of the first convolution, odd"},
        no_residual={"help": "don't add the layers' inputs to their outputs"},
    )
    add_schedule_options(parser, DEFAULTS, patch=f" (default: {PATCH}, or whole images if they are smaller)")
    add_run_options(parser, DEFAULTS, "out/pixelrnn")


def run(args: argparse.Namespace) -> int:
    """Train; 1 if training diverged, 130 if interrupted.

    Raises:
        UsageError: If the options, the data or the checkpoint are not usable.
    """
    return train(args, RECIPE)


def check_options(chosen: argparse.Namespace, given: Mapping[str, Any]) -> None:
    """Refuse options that do not go together; fill in those that follow from others.

    Raises:
        ValueError: If some do not go together, or there are no data.
    """
    if chosen.data is None:
        raise ValueError("expected --data, a folder of pictures or one with MNIST's files, got none")
    if chosen.levels == 2:
        chosen.binarize = chosen.binarize or "threshold"
    else:
        refuse(given, ("binarize",), f"options of --levels {chosen.levels}")
    if chosen.minutes is not None:
        refuse(given, ("steps",), "--minutes alone to say how long")


def make_model(chosen: argparse.Namespace, channels: int) -> ImageModel:
    """Return the model that was chosen, untrained.

    Raises:
        ValueError: If a size is out of range.
    """
    from spatial_lstm.image_models import PixelRNN

    return PixelRNN(
        channels,
        chosen.levels,
        hidden_size=chosen.hidden,
        num_layers=chosen.layers,
        variant=chosen.variant,
        kernel_size=chosen.kernel,
        head_features=chosen.head_features,
        residual=not chosen.no_residual,
    )


def make_stages(chosen: argparse.Namespace, side: int) -> list[ImageStage]:
    """Return the schedule that was chosen, for images of such a smallest side."""
    from spatial_lstm.image_models.training import adam

    return adam(
        None if chosen.minutes is not None else chosen.steps,
        minutes=chosen.minutes,
        patch=chosen.patch or min(side, PATCH),
        rate=chosen.rate,
        final_rate=chosen.final_rate,
        batch=chosen.batch,
        mirror=chosen.mirror,
    )


RECIPE = Recipe(DEFAULTS, MODEL, ("PixelRNN",), check_options, make_model, make_stages)
