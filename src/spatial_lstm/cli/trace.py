"""Print the worked example: a small image fed forward and backward, site by site, with every number."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from spatial_lstm import reference
from spatial_lstm.cli.errors import input_errors
from spatial_lstm.cli.numbers import finite_float, non_negative_int
from spatial_lstm.reference.worked_example import Example, lines

DEFAULT = "0.1 0.4; 0.3 0.2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--image", type=parse_image, default=DEFAULT, help='rows separated by ";" (default: "%(default)s")'
    )
    what.add_argument("--size", type=parse_size, metavar="HxW", help="a random image of this size instead")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="of the random image (default: %(default)s)")
    parser.add_argument("--cell", choices=sorted(reference.CELLS), default="spatial", help="(default: %(default)s)")
    parser.add_argument("--peephole", action="store_true", help="with --cell graves: diagonal peepholes")
    parser.add_argument("--extended", action="store_true", help="with --cell spatial: the gates see c_0 and c_1 too")
    parser.add_argument("--direction", choices=("ff", "fr", "rf", "rr"), default="ff", help="(default: %(default)s)")
    parser.add_argument("--hidden", type=int, default=1, help="features of h and c (default: %(default)s)")
    parser.add_argument(
        "--target", type=finite_float, default=1.0, help="t of the cost (h - t)^2 / 2 (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the trace.

    Raises:
        UsageError: If the options do not go together.
    """
    with input_errors():
        text = "\n".join(trace(args))
    print(text)
    return 0


def parse_image(text: str) -> NDArray[np.float64]:
    """``"0.1 0.4; 0.3 0.2"`` to ``(H, W)``."""
    try:
        image = np.array([[float(v) for v in row.replace(",", " ").split()] for row in text.strip("; \n").split(";")])
    except ValueError:
        image = np.empty(0)
    if image.ndim != 2 or image.size == 0 or not np.isfinite(image).all():
        raise argparse.ArgumentTypeError(f'expected rows of as many numbers each, as in "1 2; 3 4", got {text!r}')
    return image


def parse_size(text: str) -> tuple[int, int]:
    """``"2x3"`` to ``(2, 3)``."""
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected a size such as 2x3, got {text!r}")
    return int(match[1]), int(match[2])


def trace(args: argparse.Namespace) -> Iterator[str]:
    """The lines to print.

    Raises:
        ValueError: If the options do not go together.
    """
    image = args.image
    if args.size is not None:
        image = np.random.default_rng(args.seed).integers(-9, 10, args.size) / 10
    options = {name: getattr(args, name) for name in ("cell", "direction", "hidden", "peephole", "extended", "target")}
    return lines(Example.run(image, **options))
