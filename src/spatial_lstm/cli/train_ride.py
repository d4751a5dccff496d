"""Train RIDE, the generative image model, on photographs or any pictures; or a model that it is compared with.

For example: train-ride --data photographs --minutes 30 --out out/photographs
"""

from __future__ import annotations

import argparse

from spatial_lstm.cli.image_training import Recipe, train
from spatial_lstm.cli.ride_options import (
    DEFAULTS,
    KINDS,
    MODEL,
    add_options,
    check_options,
    make_model,
    make_stages,
)

RECIPE = Recipe(DEFAULTS, MODEL, KINDS, check_options, make_model, make_stages)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Train; 1 if training diverged, 130 if interrupted.

    Raises:
        UsageError: If the options, the data or the checkpoint are not usable.
    """
    return train(args, RECIPE)
