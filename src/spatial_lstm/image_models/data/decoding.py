"""A picture's file to 8-bit pixels, whatever mode it is in, or a refusal that says why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spatial_lstm.transparency import settle_transparency

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

Gray = Literal["luma", "mean"]
GRAYS = ("luma", "mean")
# Pillow's names of what is read, as far as the names of files go, and as told.
FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".webp", ".pgm", ".ppm", ".pbm", ".pnm")
FORMATS_TOLD = "PNG, JPEG, TIFF, GIF, BMP, WebP, PGM or PPM"
# ITU-R 601-2 luma in 65536ths, rounded as Pillow's "L" is.
LUMA = (19595, 38470, 7471)
# Tags of a TIFF file, and their values.
BITS, PHOTOMETRIC, PLANES, SAMPLE_FORMAT = 258, 262, 284, 339
WHITE_IS_ZERO, SEPARATE, SIGNED = 0, 2, 2

# What is remarked of pictures.
DEEP = "16 bits, of which the upper 8 are taken"
DARK = "16 bits, of which the upper 4 are empty, so that they come out dark"
TRANSPARENT = "transparent in places, laid on white"
FRAMES = "several frames or pages, of which the first is taken"
INKS = "CMYK, turned to RGB without their color profile"
COLORED = "color turned to gray ({}); color=True keeps it"
REPEATED = "gray, repeated in three equal channels"


class Decoded(NamedTuple):
    """Pixels ``(H, W)`` or ``(H, W, 3)``, and what is to be remarked of them."""

    pixels: NDArray[np.uint8]
    remarks: list[str]


def read_picture(path: str | Path, *, color: bool = False, gray: Gray = "luma") -> NDArray[np.uint8]:
    """Read a picture's pixels, ``(H, W)``, or ``(H, W, 3)`` with ``color``.

    A picture is turned as its EXIF orientation says. Of 16 bits the upper eight are taken, of several frames or pages the first; what is
    transparent is laid on white. Pixels of 32 bits or in floating point are refused, since nothing tells their scale.

    Args:
        path: A PNG, JPEG, TIFF, GIF, BMP, WebP, PGM or PPM file.
        color: Three channels, of a gray picture three equal ones.
        gray: What colors turn to: ``"luma"`` after ITU-R 601-2, as Pillow's mode L, or the rounded ``"mean"`` of R, G and B.

    Raises:
        ValueError: If it cannot be read; says why.
        ModuleNotFoundError: If Pillow is missing.
    """
    return read_decoded(path, color=color, gray=gray).pixels


def read_decoded(path: str | Path, *, color: bool = False, gray: Gray = "luma") -> Decoded:
    """As :func:`read_picture`, with what is to be remarked of the picture."""
    check_gray(gray)
    try:
        found = decode(Path(path), color=color, gray=gray)
    except ValueError as error:
        raise ValueError(f"expected a picture, got {path}: {error}") from error
    return found._replace(pixels=np.array(found.pixels))  # that one may write to


def check_gray(gray: str) -> None:
    """Refuse what is no way to turn colors to gray."""
    if gray not in GRAYS:
        raise ValueError(f"expected gray to be one of {', '.join(GRAYS)}, got {gray!r}")


def decode(path: Path, *, color: bool, gray: Gray) -> Decoded:
    """As :func:`read_picture`, with remarks; a ValueError tells the reason alone."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ModuleNotFoundError as error:
        raise missing("Pillow", "to read pictures") from error
    try:
        # Of a path Pillow maps the memory, and turned TIFF files come out scrambled.
        with path.open("rb") as file, PIL.Image.open(file, formats=FORMATS) as picture:
            # The further frames of an MPO file are a photograph's previews.
            remarks = [FRAMES] if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO" else []
            deep, white = _is_deep(picture), _is_white(picture)  # before it is decoded
            settle_transparency(picture)
            PIL.ImageOps.exif_transpose(picture, in_place=True)
            deep_gray = picture.mode.startswith("I;") or (deep and picture.mode == "I")
            found = _deep_gray(picture, white) if deep_gray else _eight_bits(picture, deep)
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever a broken file leads them into
        raise ValueError(_reason(error)) from error
    shown = with_channels(found.pixels, color=color, gray=gray)
    return Decoded(shown.pixels, remarks + found.remarks + shown.remarks)


def with_channels(pixels: NDArray[np.uint8], *, color: bool, gray: Gray) -> Decoded:
    """Pixels ``(H, W)`` or ``(H, W, 3)`` in the channels that are wanted; three equal ones count as gray."""
    if pixels.ndim == 3 and all((pixels[..., k] == pixels[..., 0]).all() for k in (1, 2)):
        pixels = pixels[..., 0]
    if color:
        return Decoded(pixels, []) if pixels.ndim == 3 else Decoded(pixels[..., None].repeat(3, 2), [REPEATED])
    return Decoded(pixels, []) if pixels.ndim == 2 else Decoded(_to_gray(pixels, gray), [COLORED.format(gray)])


def _to_gray(pixels: NDArray[np.uint8], gray: Gray) -> NDArray[np.uint8]:
    """``(H, W, 3)`` to ``(H, W)``."""
    red, green, blue = (pixels[..., k].astype(np.uint32) for k in range(3))
    if gray == "mean":
        return ((red + green + blue + 1) // 3).astype(np.uint8)
    return ((LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue + (1 << 15)) >> 16).astype(np.uint8)


def _is_deep(picture: ImageFile) -> bool:
    """Whether the file, which is not decoded yet, has 16 bits, whatever the mode: Pillow has colors in 8."""
    if picture.format == "PPM":
        return any(tile[3][-1] > 255 for tile in picture.tile if isinstance(tile[3], tuple)) or picture.mode == "I"
    return any(";16" in str(tile[3]) for tile in picture.tile)


def _is_white(picture: ImageFile) -> bool:
    """Whether zero is white, in a TIFF file, which Pillow heeds in 8 bits alone.

    Raises:
        ValueError: If Pillow would misread the file's numbers: those with a sign, or of 16 bits in separate planes.
    """
    tags = getattr(picture, "tag_v2", {})
    bits = max(tags.get(BITS, (1,)))
    if SIGNED in tags.get(SAMPLE_FORMAT, ()) and bits == 8:
        raise ValueError("has 8 bits with a sign")
    if tags.get(PLANES) == SEPARATE and bits == 16:
        raise ValueError("has 16 bits with each channel in a plane of its own")
    return tags.get(PHOTOMETRIC) == WHITE_IS_ZERO


def _deep_gray(picture: Image, white: bool) -> Decoded:
    """The upper eight of 16 bits, which Pillow's own conversion would clip instead; of what is below white, if zero is white."""
    values = np.asarray(picture).astype(np.int64)
    values = (1 << 16) - 1 - values if white else values
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= 1 << 16:
        raise ValueError(f"has values from {low} to {high}, not of 0 to 65535")
    if "transparency" in picture.info:
        raise ValueError("has 16 bits and a transparent level")
    return Decoded((values >> 8).astype(np.uint8), [DEEP, DARK] if high < 1 << 12 else [DEEP])


def _eight_bits(picture: Image, deep: bool) -> Decoded:
    """What Pillow has in 8 bits; ``deep`` if its file has 16, of which Pillow has taken the upper ones."""
    remarks = [DEEP] if deep else []
    if picture.mode in ("I", "F"):
        kind = "32-bit integers" if picture.mode == "I" else "floating-point numbers"
        raise ValueError(f"its pixels are {kind}, whose scale nothing tells; save it in 8 or 16 bits")
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        pixels, transparent = _on_white(np.asarray(picture.convert("RGBA")))
        return Decoded(pixels, remarks + [TRANSPARENT] * transparent)
    if picture.mode in ("1", "L"):
        return Decoded(np.asarray(picture.convert("L")), remarks)
    return Decoded(np.asarray(picture.convert("RGB")), remarks + [INKS] * (picture.mode == "CMYK"))


def _on_white(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], bool]:
    """RGBA ``(H, W, 4)`` on white, and whether that changed anything."""
    colors, alpha = pixels[..., :3], pixels[..., 3:].astype(np.uint32)
    if alpha.min() == 255:
        return colors, False
    if alpha.max() == 0:
        raise ValueError("is transparent everywhere")
    return ((colors * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8), True


def _reason(error: Exception) -> str:
    """Why a file could not be read, without its name."""
    import PIL

    if isinstance(error, PIL.UnidentifiedImageError):
        return f"it is no {FORMATS_TOLD} file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def missing(package: str, purpose: str) -> ModuleNotFoundError:
    """The error of a package that is not there."""
    return ModuleNotFoundError(
        f'expected {package} {purpose}: pip install "spatial-lstm[demo]" or pip install {package}'
    )
