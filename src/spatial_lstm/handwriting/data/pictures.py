"""Pictures as gray pixels, and at the height and on the scale that a network takes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatial_lstm.arguments import check_positive_int
from spatial_lstm.handwriting.data.report import Refusal
from spatial_lstm.transparency import settle_transparency

if TYPE_CHECKING:
    from PIL.Image import Image

Gray = NDArray[np.uint8]
BROKEN = "broken image"
REDUCTIONS = (1, 2, 4, 8)
# Least difference of ink and paper that is stretched to 1, in levels of 256: less is the paper's own grain.
LEAST_CONTRAST = 64
# The share of a line's pixels that is darker, or lighter, than what counts as the darkest and the lightest.
EXTREME = 0.01
# The tag of a camera's orientation, and its values by which width and height change places.
EXIF_ORIENTATION, LYING = 0x0112, (5, 6, 7, 8)


def picture_sizes(path: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height as a picture is stored, and as it is looked at, turned as its camera says; without decoding it.

    Raises:
        Refusal: If it is missing or no picture.
    """
    with _opened(path) as picture:
        return _sizes(picture)


def further_pages(path: Path) -> int:
    """How many pages a TIFF has behind the first; smaller copies of it are none. 0 of what is no TIFF, or cannot be read."""
    found = 0
    try:
        with _opened(path) as picture:
            width = picture.width
            for frame in range(1, getattr(picture, "n_frames", 1) if picture.format == "TIFF" else 1):
                picture.seek(frame)
                found += 3 * picture.width > 2 * width
    except Refusal:
        return found
    return found


def read_gray(path: Path | str, *, size: tuple[int, int] | None = None, reduction: int = 1) -> Gray:
    """A picture's gray values, ``(height, width)``, 0 black to 255 white; what is transparent is white.

    Args:
        path: PNG, JPEG, TIFF (its first page) or whatever Pillow reads, of 1, 8 or 16 bits.
        size: Width and height that layout and picture agree on: a picture that has it as it is stored alone is not turned as its camera
            says.
        reduction: 1, 2, 4 or 8: of how many rows and columns each pixel is the mean.

    Raises:
        Refusal: If it is missing, broken, no picture or too large.
        ValueError: If the reduction is another one.
        ModuleNotFoundError: If Pillow is missing.
    """
    import PIL.Image

    if reduction not in REDUCTIONS:
        raise ValueError(f"expected reduction to be one of {REDUCTIONS}, got {reduction}")
    with _opened(Path(path)) as picture:
        turn = size is None or size == _sizes(picture)[1]
        width = picture.width
        # A JPEG's decoder makes the gray values, and the reduction, in less time.
        picture.draft("L", (picture.width // reduction, picture.height // reduction))
        left = round(reduction * picture.width / width)
        gray = _eight_bits(_turned(picture, turn))
    return gray if left == 1 else np.asarray(PIL.Image.fromarray(gray).reduce(left))


def check_gray(image: Gray) -> None:
    """Refuse anything but gray values ``(height, width)``, uint8, at least one.

    Raises:
        TypeError: If it is not an array of uint8.
        ValueError: If it is of another rank or empty.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise TypeError(f"expected an array of uint8, got {getattr(image, 'dtype', type(image).__name__)}")
    if image.ndim != 2 or 0 in image.shape:
        raise ValueError(f"expected gray values (height, width), got shape {image.shape}")


def scaled(image: Gray, height: int) -> Gray:
    """A line at another height, its width in proportion, at least 1."""
    check_positive_int("height", height)
    return resized(image, height, max(1, round(image.shape[1] * height / image.shape[0])))


def resized(image: Gray, height: int, width: int) -> Gray:
    """A picture in another size, each pixel the mean of what it covers, weighted toward its middle."""
    from PIL import Image

    if image.shape == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def normalize(image: Gray, height: int) -> Tensor:
    """What a network takes: paper is 0, ink is up to 1, ``(1, height, width)``, float32.

    So zeros around a line are more paper. Paper is the line's median, ink what lies farther from it: the darkest hundredth of the
    pixels, or the lightest on dark paper. Other levels lie between them; beyond them they are cut off. A difference of less than
    64 levels is not stretched to the full, so that empty paper stays nearly empty.

    Args:
        image: Gray values ``(any, width)``, uint8.
        height: Of the network's input, in pixels.

    Raises:
        TypeError: If it is not an array of uint8.
        ValueError: If the array is empty or of another rank.
    """
    check_gray(image)
    pixels = scaled(image, height).astype(np.float32)
    dark, paper, light = np.quantile(pixels, [EXTREME, 0.5, 1 - EXTREME])
    ink = dark if paper - dark >= light - paper else light
    contrast = max(abs(ink - paper), LEAST_CONTRAST)
    values = (pixels - paper) / (contrast if ink > paper else -contrast)
    return torch.from_numpy(values.clip(0, 1).astype(np.float32)[None])


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """A picture while it is read; whatever is wrong with it is told as a refusal."""
    import PIL.Image

    try:
        with warnings.catch_warnings():
            # Pillow warns of pages from 89 million pixels on, and refuses twice that; and of odd metadata.
            warnings.simplefilter("ignore")
            # Opened by its name, Pillow maps a TIFF into memory in rows of the turned width.
            with path.open("rb") as file, PIL.Image.open(file) as picture:
                settle_transparency(picture)
                yield picture
    except FileNotFoundError as error:
        raise Refusal("no image", f"{path.name} is not there") from error
    except (Refusal, MemoryError):
        raise
    except PIL.Image.DecompressionBombError as error:
        limit = f"Pillow reads up to {2 * (PIL.Image.MAX_IMAGE_PIXELS or 0)} pixels"
        raise Refusal("image too large", f"{path.name}: {limit}") from error
    except Exception as error:  # decoders raise whatever a broken file leads them into
        raise Refusal(BROKEN, f"{path.name}: {error}") from error


def _sizes(picture: Image) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height as a picture is stored, and as it is looked at, turned as its camera says."""
    from PIL import TiffImagePlugin

    stored = picture.size
    if isinstance(picture, TiffImagePlugin.TiffImageFile):  # some versions of Pillow tell its turned size
        stored = picture.tag_v2[TiffImagePlugin.IMAGEWIDTH], picture.tag_v2[TiffImagePlugin.IMAGELENGTH]
    return stored, stored[::-1] if picture.getexif().get(EXIF_ORIENTATION) in LYING else stored


def _turned(picture: Image, turn: bool) -> Image:
    """A picture as it is looked at, or else as it is stored."""
    from PIL.Image import Transpose
    from PIL.ImageOps import exif_transpose

    orientation = picture.getexif().get(EXIF_ORIENTATION)
    picture.load()
    turned = picture if picture.format == "TIFF" else exif_transpose(picture)  # decoding a TIFF turns it
    if turn or orientation not in LYING:
        return turned
    back = (Transpose.TRANSPOSE, Transpose.ROTATE_90, Transpose.TRANSVERSE, Transpose.ROTATE_270)
    return turned.transpose(back[LYING.index(orientation)])


def _eight_bits(picture: Image) -> Gray:
    """Gray values; of 16 bits the upper eight, which Pillow's own conversion would clip instead.

    Where the upper four are empty all over the picture it has 12 bits, as scanners and cameras save them; where the upper eight are, 8.
    """
    from PIL import Image

    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        bits = next((bits for bits in (8, 12) if values.max() < 1 << bits), 16)
        gray = (values >> bits - 8).clip(0, 255).astype(np.uint8)
        if "transparency" in picture.info:
            gray[values == picture.info["transparency"]] = 255
        return gray
    if picture.mode == "F":
        raise ValueError("expected pixels of 1, 8 or 16 bits, got floating point")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        colors = picture.convert("RGBA")
        paper = Image.new("RGBA", colors.size, "white")
        picture = Image.alpha_composite(paper, colors)
    return np.asarray(picture.convert("L"))
