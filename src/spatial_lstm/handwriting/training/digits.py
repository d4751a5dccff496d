"""Lines that anyone can make: strings of real digits, ragged, slanted and noisy; of MNIST's files or of scikit-learn's digits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from spatial_lstm.handwriting.data import Line, Lines, Parts
from spatial_lstm.handwriting.data.parts import PARTS
from spatial_lstm.handwriting.data.pictures import Gray
from spatial_lstm.handwriting.training.augmentation import Augmentation
from spatial_lstm.idx import find_idx, read_idx, read_labels

HEIGHT = 32
PAPER, INK, NOISE = 225, 40, 12
# Digits of a line, their sides in pixels, what lies between them, and how far they leave the row.
COUNT, SIDE, GAP, OFF = (3, 9), (17, 25), (-2, 6), 3
SLANT = Augmentation.recorded({"slant": 0.4})
# Of scikit-learn's 1,797 digits and of MNIST's 60,000 for training, those that strings of each part are made of; tests have their own file.
SKLEARN = {"train": slice(1200), "validation": slice(1200, 1450), "test": slice(1450, None)}
MNIST = {"train": slice(50_000), "validation": slice(50_000, None)}
# MNIST's images have so many empty pixels around the digit.
BORDER = 4

# Ink, ``(n, s, s)`` from 0 to 1, and labels.
Digits = tuple[NDArray[np.float32], NDArray[np.int64]]


def digit_lines(
    files: Path | str | None = None, *, train: int = 2000, validation: int = 200, test: int = 300, seed: int = 0
) -> Parts:
    """Strings of 3 to 8 handwritten digits; no digit is in two parts.

    Args:
        files: Folder with MNIST's four IDX files; None for the digits that come with scikit-learn, of 8x8 pixels.
        train: Lines to train on.
        validation: Lines to choose by.
        test: Lines to report on.
        seed: Of everything drawn; a line is the same however many there are.

    Raises:
        ModuleNotFoundError: If scikit-learn is wanted and missing.
        ValueError: If files are missing or broken.
    """
    digits = _of_sklearn() if files is None else _of_files(Path(files))
    counts = {"train": train, "validation": validation, "test": test}
    parts = []
    for number, part in enumerate(PARTS):
        own, names = digits[part]
        lines = []
        for place in range(counts[part]):
            random = np.random.default_rng((seed, number, place))
            chosen = random.integers(len(own), size=random.integers(*COUNT))
            text = "".join(str(names[k]) for k in chosen)
            lines.append(Line.of_pixels(f"{part}-{place}", text, drawn(own[chosen], random), part=part))
        parts.append(Lines(lines))
    return Parts(*parts)


def drawn(digits: NDArray[np.float32], random: np.random.Generator) -> Gray:
    """Put digits ``(n, s, s)`` side by side in a line, ``(32, width)``."""
    sides = random.integers(*SIDE, size=len(digits))
    gaps = random.integers(*GAP, size=len(digits) + 1) + 2
    paper = torch.zeros(1, HEIGHT, int(sides.sum() + gaps.sum()), device="cpu")
    left = 0
    for digit, side, gap in zip(digits, sides.tolist(), gaps.tolist(), strict=False):
        left += gap
        off = int(random.integers(-OFF, OFF + 1))
        top = min(max(0, (HEIGHT - side) // 2 + off), HEIGHT - side)
        large = functional.interpolate(torch.from_numpy(digit)[None, None], (side, side), mode="bilinear")[0, 0]
        place = paper[0, top : top + side, left : left + side]
        torch.maximum(place, large[:, : place.shape[1]], out=place)
        left += side
    ink = SLANT(paper, random)[0].numpy()
    gray = PAPER - (PAPER - INK) * ink + NOISE * random.standard_normal(ink.shape)
    found: Gray = gray.round().clip(0, 255).astype(np.uint8)
    return found


def _of_sklearn() -> Mapping[str, Digits]:
    from sklearn.datasets import load_digits

    told = load_digits()
    ink = (told.images / 16).astype(np.float32)
    return {part: (ink[where], told.target[where]) for part, where in SKLEARN.items()}


def _of_files(folder: Path) -> Mapping[str, Digits]:
    if not (paths := find_idx(folder)):
        raise ValueError(f"expected a folder with MNIST's IDX files, train-images-idx3-ubyte and so on, got {folder}")
    read = {part: _labelled(path) for part, path in paths.items()}
    ink, labels = read["train"]
    held = {part: (ink[where], labels[where]) for part, where in MNIST.items()}
    if not len(held["validation"][0]):
        raise ValueError(f"expected more than {MNIST['train'].stop:,} digits in {paths['train']}, got {len(ink):,}")
    return {**held, "test": read["test"]}


def _labelled(path: Path) -> Digits:
    images, labels = read_idx(path), read_labels(path)
    if len(images) != len(labels):
        raise ValueError(f"expected a label for each of {len(images):,} images of {path}, got {len(labels):,}")
    inside = images[:, BORDER:-BORDER, BORDER:-BORDER]
    if inside.shape[1] != inside.shape[2] or not inside.size:
        raise ValueError(f"expected square images with a border of {BORDER}, got {images.shape[1:]} in {path}")
    return (inside / 255).astype(np.float32), labels.astype(np.int64)
