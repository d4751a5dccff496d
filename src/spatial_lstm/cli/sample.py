"""Draw images from a trained model: a sheet of them in one PNG file, or a folder of single ones.

For example: sample out/digits --count 36 --out digits.png
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from spatial_lstm.cli.errors import input_errors
from spatial_lstm.cli.models import add_model_arguments, choose_threads, open_trained, refuse_existing
from spatial_lstm.cli.numbers import non_negative_int, positive_int
from spatial_lstm.cli.options import path
from spatial_lstm.cli.pictures import sheet, to_pixels, write_png

if TYPE_CHECKING:
    from torch import Tensor

    from spatial_lstm.image_models import ImageModel

SIDE = 64
# Pixels drawn together at most, if they are more than one image's.
AT_ONCE = 1 << 19
# Sides of what the number of threads is chosen by.
TRIED = (8, 32)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_model_arguments(parser)
    parser.add_argument(
        "--out", type=path, required=True, metavar="FILE.png", help="one sheet, or a folder for one file an image"
    )
    parser.add_argument("--overwrite", action="store_true", help="lose what --out holds")
    parser.add_argument("--count", type=positive_int, default=16, help="of images (default: %(default)s)")
    parser.add_argument(
        "--height", type=positive_int, help="of an image (default: the side that the model was scored at)"
    )
    parser.add_argument("--width", type=positive_int, help="of an image (default: as the height)")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="(default: %(default)s)")
    parser.add_argument("--zoom", type=positive_int, help="pixels a side for each, on a sheet (default: by their size)")


def run(args: argparse.Namespace) -> int:
    """Draw, and write.

    Raises:
        UsageError: If there is no such model, it draws no such images, or the file is there.
    """
    with input_errors():
        names = _names(args)
        for name in names:
            refuse_existing(name, args.overwrite)
        trained = open_trained(args)
        height = args.height or args.width or trained.record.get("task", {}).get("side", SIDE)
        width = args.width or height
        scale = getattr(trained.model, "scale", 1)
        if height % scale or width % scale:
            raise ValueError(f"expected --height and --width to be divisible by {scale}, got {height} and {width}")
    choose_threads(args, lambda: trained.model.sample(*TRIED))
    images = [to_pixels(image) for batch in _draw(args, trained.model, height, width) for image in batch]
    with input_errors():
        if args.out.suffix:
            write_png(args.out, sheet(images, args.zoom))
        else:
            for name, image in zip(names, images, strict=True):
                write_png(name, image)
    print(f"wrote {args.count} images of {height}x{width} (height x width) to {args.out}")
    return 0


def _names(args: argparse.Namespace) -> list[Path]:
    """The files that are to be written."""
    if args.out.suffix.lower() == ".png":
        return [args.out]
    if args.out.suffix or args.out.is_file():
        raise ValueError(f"expected --out to be a .png file or a folder, got {args.out}")
    digits = len(str(args.count - 1))
    return [args.out / f"sample-{place:0{digits}}.png" for place in range(args.count)]


def _draw(args: argparse.Namespace, model: ImageModel, height: int, width: int) -> Iterator[Tensor]:
    """The images, as many at once as fit."""
    import torch

    from spatial_lstm.training import Bar

    device = next(chain(model.parameters(), model.buffers())).device
    generator = torch.Generator(device).manual_seed(args.seed)
    at_once = max(1, AT_ONCE // (height * width))
    for start in range(0, args.count, at_once):
        with Bar(label=f"images from {start}", leave=False) as bar:
            count = min(at_once, args.count - start)
            yield model.sample(height, width, count, generator=generator, progress=bar.move_to)
