"""Data sets by name, and any folder of pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spatial_lstm.arguments import names_data_set
from spatial_lstm.image_models.data.dead_leaves import LARGEST, NOISE, SMALLEST, dead_leaves
from spatial_lstm.image_models.data.decoding import Gray, missing
from spatial_lstm.image_models.data.folders import by_area, check_disjoint, folder_part, folder_parts
from spatial_lstm.image_models.data.levels import Binarization
from spatial_lstm.image_models.data.reading import Part, Reader
from spatial_lstm.image_models.data.splits import PARTS, Splits

TEXTURES = ("brick", "grass", "gravel")


@dataclass(frozen=True)
class Shipped:
    """Pictures that ship in a package, by their names: ``(H, W)`` or ``(H, W, 3)``."""

    pictures: dict[str, NDArray[np.uint8]]


# What makes a data set of a seed and of whether it is to have color.
Loader = Callable[[int, bool], Splits | Shipped]


def load(
    source: str | Path,
    *,
    seed: int = 0,
    color: bool = False,
    gray: Gray = "luma",
    validation: str | Path | None = None,
    test: str | Path | None = None,
    binarize: Binarization | None = None,
) -> Splits:
    """Load a data set of :data:`NAMES`, or the pictures of a folder and the folders in it, divided in three.

    - A folder with the folders ``train``, ``test`` and ``validation`` (or ``val``, ``valid``) is taken as the division it is.
    - Of one with ``train-images-idx3-ubyte`` and ``t10k-images-idx3-ubyte`` (or ``.gz``), such as MNIST's, the last sixth of the training
      images is for validation.
    - Of any other, a tenth of the files each is held out, drawn by ``seed``; of fewer than ten pictures the right of each: twice an eighth
      of its columns, or twice a quarter of fewer than 512.

    What ``validation`` or ``test`` gives stands for the data's own part; nothing is held out for it. What is then still missing, and the
    validation or test folder that a divided folder lacks, is held out of the training files: a tenth, at least one.

    Args:
        source: A name, a folder, or a picture. A folder named like a data set is meant by ``./name`` or by a Path; what could
            be either is refused.
        seed: Of what is generated, of the noise added to integers, and of the division of a folder's files.
        color: Three channels instead of one, where there are any.
        gray: What colors turn to without ``color``: ``"luma"`` after ITU-R 601-2, or the rounded ``"mean"`` of R, G and B.
        validation: As ``source``, to choose by, of which :func:`load_part` tells what is taken.
        test: As ``source``, to report on.
        binarize: See :func:`~spatial_lstm.image_models.data.binarize`; None to dequantize.

    Returns:
        The images. Its ``notes`` say what happened to pictures on the way; of files that were skipped a warning tells too.

    Raises:
        ValueError: If there is no such data set or folder, no usable picture in it, too little to hold a part out of, a file in two parts,
            no color although that is wanted, or no integers to binarize.
        ModuleNotFoundError: If the package that has the pictures, or reads them, is missing; says which.
    """
    reader = Reader(seed=seed, color=color, gray=gray, binarize=binarize)
    others = {"validation": validation, "test": test}
    given = {part: _part(other, part, reader) for part, other in others.items() if other is not None}
    parts = _parts(source, reader, given)
    check_disjoint(parts)
    train, chosen_by, reported = (parts[part].images for part in PARTS)
    sources = {part: parts[part].sources for part in PARTS}
    return Splits(_name(source), train, chosen_by, reported, sources=sources, notes=reader.tell())


def load_part(
    source: str | Path,
    part: str = "test",
    *,
    seed: int = 0,
    color: bool = False,
    gray: Gray = "luma",
    binarize: Binarization | None = None,
) -> Part:
    """Load one part of what has parts of its own, or else all: the images that :func:`load` has, with their names.

    Of a data set of :data:`NAMES`, a folder with folders named like parts, or IDX files, it is their part as :func:`load` divides them. Any
    other folder is taken whole, and so is a single picture.

    Args:
        source: A name, a folder, or a picture.
        part: ``"train"``, ``"validation"`` or ``"test"``; of what is taken whole it decides the noise alone.
        seed: See :func:`load`; so are the other options.
        color: Three channels instead of one.
        gray: What colors turn to without ``color``.
        binarize: None to dequantize.

    Raises:
        ValueError: If there is no such part, data set, folder or picture, or an option does not go with it.
        ModuleNotFoundError: If the package that has the pictures, or reads them, is missing; says which.
    """
    if part not in PARTS:
        raise ValueError(f"expected a part of {', '.join(PARTS)}, got {part!r}")
    reader = Reader(seed=seed, color=color, gray=gray, binarize=binarize)
    found = _part(source, part, reader)
    return replace(found, notes=reader.tell())


def generated(
    *,
    train: int = 400,
    held_out: int = 20,
    side: int = 128,
    seed: int = 0,
    noise: float = NOISE,
    radii: tuple[float, float] = (SMALLEST, LARGEST),
) -> Splits:
    """Dead leaves: ``train`` images to train on, and twice ``held_out`` others for validation and test."""
    images = list(dead_leaves(train + 2 * held_out, side, side, seed=seed, noise=noise, radii=radii))
    ranges = list(pairwise([0, train, train + held_out, train + 2 * held_out]))
    sources = {part: [f"dead leaves of seed {seed}[{a}:{b}]"] for part, (a, b) in zip(PARTS, ranges, strict=True)}
    shown, chosen_by, reported = (images[a:b] for a, b in ranges)
    return Splits("deadleaves", shown, chosen_by, reported, sources=sources)


def _parts(source: str | Path, reader: Reader, given: Mapping[str, Part]) -> dict[str, Part]:
    """The three parts of a data set; those given stand for its own."""
    if names_data_set(source, NAMES):
        return {**_named(str(source), reader), **given}
    return folder_parts(_existing(source), reader, given)


def _part(source: str | Path, part: str, reader: Reader) -> Part:
    """One part of a data set, or all of a folder without parts."""
    if names_data_set(source, NAMES):
        return _named(str(source), reader)[part]
    return folder_part(_existing(source), part, reader)


def _named(name: str, reader: Reader) -> dict[str, Part]:
    found = NAMES[name](reader.seed, reader.color)
    if isinstance(found, Shipped):
        return by_area(reader.arrays("train", list(found.pictures.values()), list(found.pictures)))
    if reader.binarize is not None:
        raise ValueError(f"expected binarize=None for {name}, whose pixels are no integers, got {reader.binarize!r}")
    for note in found.notes:
        reader.say(note)
    names = {part: [f"{name} {part} {place}" for place in range(len(found.part(part)))] for part in PARTS}
    return {part: Part(found.part(part), names[part], found.sources.get(part, names[part])) for part in PARTS}


def _existing(source: str | Path) -> Path:
    path = Path(source)
    if not path.exists():
        raise ValueError(f"expected a folder of pictures or one of {', '.join(NAMES)}, got {str(source)!r}")
    return path


def _name(source: str | Path) -> str:
    """What a data set is called: a folder by its own name, even where it is given as ``.``."""
    return str(source) if names_data_set(source, NAMES) else os.path.basename(os.path.abspath(source))


def _textures(*names: str) -> Loader:
    def read(seed: int, color: bool) -> Shipped:
        try:
            import skimage.data
        except ModuleNotFoundError as error:
            raise missing("scikit-image", "for the textures") from error
        if color:
            raise ValueError("expected color=False for the textures, which are gray, got True")
        return Shipped({name: getattr(skimage.data, name)() for name in names})

    return read


def _photos(seed: int, color: bool) -> Shipped:
    try:
        from sklearn.datasets import load_sample_images
    except ModuleNotFoundError as error:
        raise missing("scikit-learn", "for the photographs") from error
    found = load_sample_images()
    return Shipped(dict(zip(map(os.path.basename, found.filenames), found.images, strict=True)))


def _dead_leaves(seed: int, color: bool) -> Splits:
    if color:
        raise ValueError("expected color=False for dead leaves, which are gray, got True")
    return generated(seed=seed)


NAMES: dict[str, Loader] = {
    "deadleaves": _dead_leaves,
    "textures": _textures(*TEXTURES),
    **{name: _textures(name) for name in TEXTURES},
    "photos": _photos,
}
