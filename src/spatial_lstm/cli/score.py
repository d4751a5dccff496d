"""Score a trained image model on pictures: log-likelihoods in bits per pixel or nats, with standard errors, image by image.

For example: score out/photographs --data others --json others.json
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from spatial_lstm.cli.errors import input_errors
from spatial_lstm.cli.image_options import told_in_notes
from spatial_lstm.cli.models import (
    add_model_arguments,
    choose_threads,
    open_trained,
    reading,
    refuse_existing,
    suited,
    trained_on,
)
from spatial_lstm.cli.numbers import non_negative_int, positive_int
from spatial_lstm.cli.options import path, path_text
from spatial_lstm.cli.scores import tell, versions

if TYPE_CHECKING:
    from torch import Tensor

    from spatial_lstm.image_models import ImageModel
    from spatial_lstm.image_models.data import Part
    from spatial_lstm.image_models.scoring import Score
    from spatial_lstm.image_models.training import TrainedModel

# Pixels that the number of threads is chosen by, and sides of the images that they are taken from.
TRIED, TRIED_SIDE = 1 << 16, 256
# Options of how images are read, which models keep.
WAYS = ("seed", "gray", "binarize")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_model_arguments(parser)
    group = parser.add_argument_group("images")
    group.add_argument(
        "--data",
        type=path_text,
        required=True,
        metavar="PATH",
        help="a folder, a picture, one with MNIST's files, or a data set's name",
    )
    group.add_argument(
        "--part",
        choices=("test", "validation", "train"),
        default="test",
        help="of data that has parts (default: %(default)s)",
    )
    group.add_argument("--limit", type=positive_int, metavar="N", help="the first N images")
    group.add_argument("--gray", choices=("luma", "mean"), help="how colors turn to gray (default: as in training)")
    group.add_argument(
        "--binarize", choices=("threshold", "sample"), help="for models of black and white (default: as in training)"
    )
    group.add_argument("--seed", type=non_negative_int, help="of the noise added to integers (default: as in training)")
    group = parser.add_argument_group("score")
    group.add_argument(
        "--tile",
        type=positive_int,
        metavar="SIDE",
        help="cut images into tiles, 64 in the papers (default: whole images)",
    )
    group.add_argument(
        "--states",
        choices=("zero", "true"),
        default="zero",
        help="a tile by itself, or given all that comes before it in its image (default: %(default)s)",
    )
    group.add_argument("--ensemble", action="store_true", help="average over all flips and transposes of each image")
    group.add_argument(
        "--allow-not-finite", action="store_true", help="leave out images whose likelihood is not finite; else an error"
    )
    group.add_argument("--json", type=path, metavar="FILE", help="write the scores, image by image")
    group.add_argument("--overwrite", action="store_true", help="lose a file that --json names")


def run(args: argparse.Namespace) -> int:
    """Print the scores; 1 if one is not finite.

    Raises:
        UsageError: If the model or the images are not usable.
    """
    with input_errors():
        if args.json:
            refuse_existing(args.json, args.overwrite, "--json")
        trained = open_trained(args)
        model = _ensemble(args, trained.model)
        images = _images(args, trained)
    for note in images.notes:
        print(note.removesuffix("; color=True keeps it"))
    threads = choose_threads(args, lambda: _score(args, model, _some(images)))
    start = time.perf_counter()
    score = _score(args, model, images, progress=True)
    settings = {"threads": threads, "seconds": round(time.perf_counter() - start, 2)}
    how = f"in tiles of {args.tile}x{args.tile}, {args.states} states" if args.tile else "whole, each by itself"
    what = f"images {how}{', ensemble' * args.ensemble}"
    status = tell(score, what, remedy=model.remedy(), allow=args.allow_not_finite)
    if args.json:
        with input_errors():
            _write(args, trained, score, {**settings, "notes": images.notes})
    return status


def _ensemble(args: argparse.Namespace, model: ImageModel) -> ImageModel:
    from spatial_lstm.image_models import Ensemble
    from spatial_lstm.image_models.scoring import ScoresTiles

    if args.states == "true" and (args.ensemble or not args.tile):
        raise ValueError("expected --states true with --tile and without --ensemble")
    if args.states == "true" and not isinstance(model, ScoresTiles):
        raise ValueError(
            f"expected --states zero for a {type(model).__name__}, which begins anew at every tile, got true"
        )
    return Ensemble(model) if args.ensemble else model


def _images(args: argparse.Namespace, trained: TrainedModel) -> Part:
    """The images that are scored, with all that is to be said of them."""
    from spatial_lstm.image_models.data import load_part

    with told_in_notes():
        part = load_part(args.data, args.part, **_ways(args, trained))
    if args.limit is not None:
        part = replace(part, images=part.images[: args.limit], names=part.names[: args.limit])
    part = suited(trained.model, part, args.tile)
    return replace(part, notes=part.notes + trained_on(trained, args.data, part.names))


def _ways(args: argparse.Namespace, trained: TrainedModel) -> dict[str, Any]:
    """How the images are read."""
    return reading(trained, {name: getattr(args, name) for name in WAYS})


def _some(images: Part) -> Part:
    """Enough of the images to time their scoring."""
    found: list[Tensor] = []
    while len(found) < len(images.images) and sum(image[0].numel() for image in found) < TRIED:
        found.append(images.images[len(found)][:, :TRIED_SIDE, :TRIED_SIDE])
    return replace(images, images=found, names=images.names[: len(found)])


def _score(args: argparse.Namespace, model: ImageModel, images: Part, progress: bool = False) -> Score:
    from spatial_lstm.image_models.scoring import score_images
    from spatial_lstm.training import Bar

    with Bar(label="images", unit="image", shown=progress, leave=False) as bar:
        return score_images(
            model, images.images, images.names, tile=args.tile, states=args.states, progress=bar.move_to
        )


def _write(args: argparse.Namespace, trained: TrainedModel, score: Score, others: dict[str, Any]) -> None:
    """Write the scores as JSON."""
    from spatial_lstm.files import write_atomically

    means = (score.finite() if args.allow_not_finite else score).summary()
    found = {
        **means,
        "not_finite": score.not_finite,
        **{name: getattr(args, name) for name in ("data", "part", "tile", "states", "ensemble")},
        **{name: value for name, value in _ways(args, trained).items() if name in WAYS},
        "model": {"path": str(args.model), **trained.record},
        **others,
        "versions": versions(),
        "per_image": [
            {
                "name": image.name,
                "bits_per_pixel": image.bits_per_pixel if math.isfinite(image.nats) else None,
                "nats": image.nats if math.isfinite(image.nats) else None,
                "pixels": image.pixels,
            }
            for image in score.images
        ],
    }
    text = json.dumps(found, indent=1, allow_nan=False) + "\n"
    write_atomically(args.json, lambda file: file.write(text.encode()))
