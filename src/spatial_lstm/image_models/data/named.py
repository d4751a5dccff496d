"""Data sets by name, and any folder of pictures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spatial_lstm.image_models.data.dead_leaves import NOISE, dead_leaves
from spatial_lstm.image_models.data.images import Splits, dequantize, split_columns

if TYPE_CHECKING:
    from PIL.Image import Image

TEXTURES = ("brick", "grass", "gravel")
SUFFIXES = (".png", ".jpg", ".jpeg")
# The side of the tiles on which models are scored.
SMALLEST_SIDE = 64
# A folder of fewer pictures is split within each picture, of which a part as wide as a tile is an eighth if it is as wide as this.
WHOLE_FILES, WIDE = 10, 512
Loader = Callable[[int, bool], Splits]


def load(name: str | Path, *, seed: int = 0, color: bool = False) -> Splits:
    """Load a data set of :data:`NAMES`, or the PNG and JPEG files of a folder and the folders in it.

    Args:
        name: A name, or a folder. A folder named like a data set is meant by ``./name`` or by a Path.
        seed: Of what is generated, of the noise added to integers, and of the division of a folder's files.
        color: Three channels instead of one, where there are any.

    Raises:
        ValueError: If there is no such data set or folder, or no usable picture in it, or it has no color.
        ModuleNotFoundError: If the package that has the pictures, or reads them, is missing; says which.
    """
    if isinstance(name, str) and name in NAMES:
        return NAMES[name](seed, color)
    folder = Path(name)
    if not folder.is_dir():
        raise ValueError(f"expected a folder of pictures or one of {', '.join(NAMES)}, got {str(name)!r}")
    return from_folder(folder, seed=seed, color=color)


def generated(*, train: int = 400, held_out: int = 20, side: int = 128, seed: int = 0, noise: float = NOISE) -> Splits:
    """Dead leaves: ``train`` images to train on, and twice ``held_out`` others for validation and test."""
    images = list(dead_leaves(train + 2 * held_out, side, side, seed=seed, noise=noise))
    return Splits("deadleaves", images[:train], images[train : train + held_out], images[train + held_out :])


def from_folder(folder: Path, *, seed: int = 0, color: bool = False) -> Splits:
    """Read a folder's pictures; broken and small files are skipped with a warning that names them.

    From ten pictures on, a tenth of the files each is held out for validation and for test; from fewer, an eighth of each picture's width,
    or a quarter if it is narrower than 512 pixels.

    Raises:
        ValueError: If no usable picture is found.
        ModuleNotFoundError: If Pillow is missing.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    pictures = [pixels for path in paths if (pixels := _read(path, color)) is not None]
    if not pictures:
        wanted = f"a PNG or JPEG picture of at least {SMALLEST_SIDE}x{SMALLEST_SIDE}"
        raise ValueError(f"expected {wanted} in {folder}, got {f'{len(paths)} unusable' if paths else 'none'}")
    if len(pictures) < WHOLE_FILES:
        return _by_area(folder.name, pictures, seed)
    random = np.random.default_rng(seed)
    images = [dequantize(pixels, random) for pixels in pictures]
    order = random.permutation(len(images))
    part = len(images) // 10
    chosen = [[images[i] for i in group] for group in np.split(order, [part, 2 * part])]
    return Splits(folder.name, train=chosen[2], validation=chosen[0], test=chosen[1])


def _read(path: Path, color: bool) -> NDArray[np.uint8] | None:
    """One picture, or None, and a warning, if it cannot be used."""
    try:
        import PIL.Image
    except ModuleNotFoundError as error:
        raise _missing("Pillow", "to read pictures") from error
    try:
        with PIL.Image.open(path) as picture:
            pixels = _eight_bits(picture, color)
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        warnings.warn(f"skipped {path}: {error}", stacklevel=4)
        return None
    if min(pixels.shape[:2]) < SMALLEST_SIDE:
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        warnings.warn(f"skipped {path}: {size} is smaller than {SMALLEST_SIDE}x{SMALLEST_SIDE}", stacklevel=4)
        return None
    return pixels


def _eight_bits(picture: Image, color: bool) -> NDArray[np.uint8]:
    """The pixels of a picture; of those of 16 bits the upper eight, which Pillow's own conversion would clip instead."""
    if picture.mode.startswith("I"):
        upper = (np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return upper[..., None].repeat(3, 2) if color else upper
    return np.asarray(picture.convert("RGB" if color else "L"))


def _by_area(name: str, pictures: Sequence[NDArray[np.uint8]], seed: int) -> Splits:
    """Divide each picture from left to right: what to train on, and twice an eighth or a quarter for validation and test."""
    random = np.random.default_rng(seed)
    images = [dequantize(pixels, random) for pixels in pictures]
    parts = [split_columns(image, held_out=1 / 8 if image.shape[2] >= WIDE else 1 / 4) for image in images]
    return Splits(name, *([part[k] for part in parts] for k in range(3)))


def _textures(*names: str) -> Loader:
    def read(seed: int, color: bool) -> Splits:
        try:
            import skimage.data
        except ModuleNotFoundError as error:
            raise _missing("scikit-image", "for the textures") from error
        if color:
            raise ValueError("expected color=False for the textures, which are gray, got True")
        return _by_area("-".join(names), [getattr(skimage.data, name)() for name in names], seed)

    return read


def _photos(seed: int, color: bool) -> Splits:
    try:
        from sklearn.datasets import load_sample_images
    except ModuleNotFoundError as error:
        raise _missing("scikit-learn", "for the photographs") from error
    pictures = load_sample_images().images
    if not color:
        luma = np.array([0.299, 0.587, 0.114])
        pictures = [np.rint(picture @ luma).astype(np.uint8) for picture in pictures]
    return _by_area("photos", pictures, seed)


def _dead_leaves(seed: int, color: bool) -> Splits:
    if color:
        raise ValueError("expected color=False for dead leaves, which are gray, got True")
    return generated(seed=seed)


def _missing(package: str, purpose: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f'expected {package} {purpose}: pip install "spatial-lstm[demo]" or pip install {package}'
    )


NAMES: dict[str, Loader] = {
    "deadleaves": _dead_leaves,
    "textures": _textures(*TEXTURES),
    **{name: _textures(name) for name in TEXTURES},
    "photos": _photos,
}
