"""Fill a hole in your own picture: white in a mask says where; all other pixels stay as they are read, in 8 bits without transparency.

For example: inpaint out/photographs holiday.png mask.png --out filled.png
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spatial_lstm.cli.errors import input_errors
from spatial_lstm.cli.models import add_model_arguments, choose_threads, open_trained, reading, refuse_existing
from spatial_lstm.cli.numbers import non_negative_int, positive_int
from spatial_lstm.cli.options import path
from spatial_lstm.cli.pictures import to_pixels, write_png

if TYPE_CHECKING:
    from torch import Tensor

    from spatial_lstm.image_models import ImageModel
    from spatial_lstm.image_models.base import FillsHoles
    from spatial_lstm.training import Bar

KEEP, FILL = 0, 255
# Sides of what the number of threads is chosen by.
TRIED = (8, 32)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_model_arguments(parser)
    parser.add_argument("image", type=path, metavar="IMAGE", help="a picture")
    parser.add_argument(
        "mask", type=path, metavar="MASK", help="a picture of the same size: white where to fill, black where to keep"
    )
    parser.add_argument("--out", type=path, required=True, metavar="FILE.png", help="the filled picture")
    parser.add_argument("--overwrite", action="store_true", help="lose what --out holds")
    parser.add_argument("--gray", choices=("luma", "mean"), help="turn a color picture gray for a model of gray ones")
    parser.add_argument(
        "--candidates", type=positive_int, default=8, help="fillings, the likeliest of which is taken (default: 8)"
    )
    parser.add_argument(
        "--sweeps", type=non_negative_int, default=10, help="of RIDE, to fit the hole's far side (default: 10)"
    )
    parser.add_argument("--seed", type=non_negative_int, default=0, help="(default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Fill, and write.

    Raises:
        UsageError: If the model, the picture or the mask are not usable, or the file is there.
    """
    from spatial_lstm.image_models.base import FillsHoles
    from spatial_lstm.training import Bar

    with input_errors():
        if args.out.suffix.lower() != ".png":
            raise ValueError(f"expected --out to be a .png file, which keeps pixels as they are, got {args.out}")
        refuse_existing(args.out, args.overwrite)
        trained = open_trained(args)
        if not isinstance(trained.model, FillsHoles):
            raise ValueError(f"expected a model that fills holes, got a {trained.record['kind']}")
        ways = reading(trained, {"seed": args.seed, "gray": args.gray})
        picture = _picture(args, trained.model, ways)
        mask = _mask(args.mask, trained.model, picture)
    image, hole = _tensors(picture, mask, ways, trained.model)
    choose_threads(args, lambda: trained.model.sample(*TRIED))
    with Bar(label="hole", leave=False) as bar:
        filled = _fill(args, trained.model, image, hole, bar)
    picture[mask] = to_pixels(filled[0])[mask]
    with input_errors():
        write_png(args.out, picture)
    print(f"wrote {args.out}: {int(mask.sum()):,} of {mask.size:,} pixels filled")
    return 0


def _picture(args: argparse.Namespace, model: ImageModel, ways: Mapping[str, Any]) -> NDArray[np.uint8]:
    """The picture's pixels, ``(H, W)`` or ``(H, W, 3)`` as the model's channels are; what is to be said of it is printed."""
    from spatial_lstm.image_models.data.decoding import COLORED, read_decoded
    from spatial_lstm.image_models.data.levels import BINARIZED, has_grays

    pixels, remarks = read_decoded(args.image, color=model.channels == 3, gray=args.gray or ways["gray"])
    if COLORED.format(ways["gray"]) in remarks and args.gray is None:
        told = f"got colors in {args.image}: add --gray {ways['gray']} to lose them"
        raise ValueError(f"expected a gray picture, as the model knows, {told}")
    if ways["binarize"] is not None and has_grays(pixels):
        remarks = [*remarks, f"{BINARIZED['threshold']}, to the model; outside of the hole they stay"]
    for remark in remarks:
        print(f"{args.image}: {remark.partition(';')[0] if remark.startswith('color') else remark}")
    return pixels


def _mask(path: Path, model: ImageModel, picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where to fill, ``(H, W)``.

    Raises:
        ValueError: If it is no mask, has another size than the picture, fills nothing or all, or where the model can't fill.
    """
    from spatial_lstm.image_models.data.decoding import read_decoded

    pixels, remarks = read_decoded(path)
    height, width = picture.shape[:2]
    if pixels.shape != (height, width):
        got = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise ValueError(
            f"expected a mask as large as the picture, {width}x{height} (width x height), got {path} of {got}"
        )
    others = pixels[(pixels != KEEP) & (pixels != FILL)]
    if len(others):
        what = f"{len(others):,} pixels of other values, such as {others[0]}"
        raise ValueError(f"expected a mask of black (keep) and white (fill) alone, got {what} in {path}")
    mask: NDArray[np.bool_] = pixels == FILL
    if mask.all() or not mask.any():
        told = f" ({', '.join(remarks)})" if remarks else ""
        what = f"nothing else{told}: sample draws whole pictures" if mask.any() else "none"
        raise ValueError(f"expected a mask with white where to fill, got {what} in {path}")
    inner, border = np.zeros_like(mask), model.border
    inner[border:, border : width - border] = True
    if (mask & ~inner).any():
        where = f"the first {border} rows and the first and last {border} columns"
        raise ValueError(f"expected a hole off {where}, which the model cannot predict, got white there in {path}")
    return mask


def _tensors(
    picture: NDArray[np.uint8], mask: NDArray[np.bool_], ways: Mapping[str, Any], model: ImageModel
) -> tuple[Tensor, Tensor]:
    """The picture ``(1, C, H, W)`` as the model knows images, and the mask ``(1, 1, H, W)``."""
    import torch

    from spatial_lstm.image_models.data import binarize, dequantize

    random = np.random.default_rng(ways["seed"])
    how = ways["binarize"]
    image = dequantize(picture, random) if how is None else binarize(picture, "threshold", random)
    like = next(chain(model.parameters(), model.buffers()))
    return image[None].to(like), torch.from_numpy(mask)[None, None].to(like.device)


def _fill(args: argparse.Namespace, model: FillsHoles, image: Tensor, hole: Tensor, bar: Bar) -> Tensor:
    """Draw the hole, ``(1, C, H, W)``."""
    import torch

    from spatial_lstm.image_models import PixelRNN

    generator = torch.Generator(image.device).manual_seed(args.seed)
    own: dict[str, Any] = {} if isinstance(model, PixelRNN) else {"gibbs_sweeps": args.sweeps}
    return model.inpaint(image, hole, candidates=args.candidates, generator=generator, progress=bar.move_to, **own)
