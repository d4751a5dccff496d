"""Reading pictures one way, and what there is to be said of them, said once."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from spatial_lstm.image_models.data.decoding import (
    FORMATS_TOLD,
    SUFFIXES,
    Decoded,
    Gray,
    check_gray,
    decode,
    with_channels,
)
from spatial_lstm.image_models.data.levels import BINARIZED, Binarization, check_binarization, encode, has_grays
from spatial_lstm.image_models.data.splits import PARTS

# Skipped files that are told by name.
TOLD = 3


@dataclass(frozen=True)
class Part:
    """Images and where they are from.

    Attributes:
        images: ``(C, H, W)`` of any sizes, float32, of [0, 1].
        names: Of each image: its file relative to its folder, and which area or which image of it.
        sources: As ``names``, but a range of a file's images by one entry.
        files: The files read, of which each is here with all that is in it if ``whole``; empty where there are none.
        whole: See ``files``.
        notes: What there is to be said of the images; sentences to print.
    """

    images: list[Tensor]
    names: list[str]
    sources: list[str]
    files: list[Path] = field(default_factory=list)
    whole: bool = True
    notes: list[str] = field(default_factory=list)

    def chosen(self, indices: Sequence[int]) -> Part:
        """Some of the images, each of a file of its own."""
        names = [self.names[i] for i in indices]
        return Part([self.images[i] for i in indices], names, names, [self.files[i] for i in indices])


class Reader:
    """Reads pictures as it was told to, and keeps what is to be said of them.

    Args:
        seed: Of the noise added to integers or what they are binarized by, and of divisions.
        color: Three channels instead of one.
        gray: How colors turn to gray.
        binarize: See :func:`~spatial_lstm.image_models.data.binarize`; None to dequantize.

    Attributes:
        random: A generator for each part, so that the test images are the same whether or not the others are read.

    Raises:
        ValueError: If an option has no such value.
    """

    def __init__(self, *, seed: int, color: bool, gray: Gray, binarize: Binarization | None) -> None:
        check_gray(gray)
        check_binarization(binarize)
        if seed < 0:
            raise ValueError(f"expected a seed of at least 0, got {seed}")
        self.seed = seed
        self.color = color
        self.gray = gray
        self.binarize = binarize
        self.random = {
            part: np.random.default_rng([seed, place] if place else seed) for place, part in enumerate(PARTS)
        }
        self._read = 0
        self._remarks: Counter[str] = Counter()
        self._skipped: list[str] = []
        self._said: list[str] = []

    def files(self, part: str, folder: Path, paths: Sequence[Path]) -> Part:
        """Read files that lie in a folder; those that cannot be read are skipped.

        Raises:
            ValueError: If none can be read.
            ModuleNotFoundError: If Pillow is missing.
        """
        pictures: list[NDArray[np.uint8]] = []
        kept: list[Path] = []
        skipped: list[str] = []
        for path in paths:
            try:
                pictures.append(self._remark(decode(path, color=self.color, gray=self.gray)))
                kept.append(path)
            except ValueError as error:
                skipped.append(f"{path.relative_to(folder).as_posix()} ({error})")
        if not pictures:
            got = f"{len(paths)} unusable: {_first(skipped)}" if paths else "none"
            raise ValueError(f"expected a {FORMATS_TOLD} picture in {folder}, got {got}")
        self._skipped += skipped
        names = [path.relative_to(folder).as_posix() for path in kept]
        return Part(self._encode(part, pictures), names, names, kept)

    def arrays(self, part: str, pictures: Sequence[NDArray[np.uint8]], names: list[str]) -> Part:
        """Take pictures ``(H, W)`` or ``(H, W, 3)`` that are no files."""
        shown = [self._remark(with_channels(pixels, color=self.color, gray=self.gray)) for pixels in pictures]
        return Part(self._encode(part, shown), names, names)

    def say(self, note: str) -> None:
        """Keep a sentence that is to be said of the images."""
        self._said.append(note)

    def tell(self) -> list[str]:
        """Return all that is to be said, and warn, once, of the files that were skipped."""
        remarks = [f"{count} of {self._read} pictures: {remark}" for remark, count in self._remarks.items()]
        if not self._skipped:
            return self._said + remarks
        skipped = f"{len(self._skipped)} of {self._read + len(self._skipped)} files skipped: {_first(self._skipped)}"
        warnings.warn(skipped, stacklevel=3)
        return [*self._said, *remarks, skipped]

    def _remark(self, decoded: Decoded) -> NDArray[np.uint8]:
        self._read += 1
        self._remarks.update(decoded.remarks)
        if self.binarize is not None and has_grays(decoded.pixels):
            self._remarks[BINARIZED[self.binarize]] += 1
        return decoded.pixels

    def _encode(self, part: str, pictures: Sequence[NDArray[np.uint8]]) -> list[Tensor]:
        return encode(pictures, self.random[part], self.binarize)


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder and of the folders in it, by their suffixes, in order; what is hidden is left out.

    Links to folders are followed, into each folder once.
    """
    found: list[tuple[str, ...]] = []
    seen: set[tuple[int, int]] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        above = Path(root).relative_to(folder).parts
        pictures = (name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith("."))
        found += [(*above, name) for name in pictures if os.path.isfile(os.path.join(root, name))]
    return [folder.joinpath(*parts) for parts in sorted(found)]


def _first(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return ", ".join(names[:TOLD]) + more
