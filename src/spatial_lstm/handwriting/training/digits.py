"""Lines that anyone can make: strings of real digits, ragged, slanted and noisy. Needs scikit-learn."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from spatial_lstm.handwriting.data import Line, Lines, Parts
from spatial_lstm.handwriting.data.parts import PARTS
from spatial_lstm.handwriting.data.pictures import Gray
from spatial_lstm.handwriting.training.augmentation import Augmentation

HEIGHT = 32
PAPER, INK, NOISE = 225, 40, 12
# Digits of a line, their sides in pixels, what lies between them, and how far they leave the row.
COUNT, SIDE, GAP, OFF = (3, 9), (17, 25), (-2, 6), 3
SLANT = Augmentation(slant=0.4, width=0.0, height=0.0, shift=0.0)
# Of the 1,797 digits, those that strings for validation and test are made of.
HELD_OUT = {"validation": slice(1200, 1450), "test": slice(1450, None), "train": slice(1200)}


def digit_lines(*, train: int = 2000, validation: int = 200, test: int = 300, seed: int = 0) -> Parts:
    """Strings of 3 to 8 of scikit-learn's handwritten digits, which come with it; no digit is in two parts.

    Args:
        train: Lines to train on.
        validation: Lines to choose by.
        test: Lines to report on.
        seed: Of everything drawn; a line is the same however many there are.

    Raises:
        ModuleNotFoundError: If scikit-learn is missing.
    """
    from sklearn.datasets import load_digits

    told = load_digits()
    ink, labels = (told.images / 16).astype(np.float32), told.target
    counts = {"train": train, "validation": validation, "test": test}
    parts = []
    for number, part in enumerate(PARTS):
        own, names = ink[HELD_OUT[part]], labels[HELD_OUT[part]]
        lines = []
        for place in range(counts[part]):
            random = np.random.default_rng((seed, number, place))
            chosen = random.integers(len(own), size=random.integers(*COUNT))
            text = "".join(str(names[k]) for k in chosen)
            lines.append(Line.of_pixels(f"{part}-{place}", text, drawn(own[chosen], random), part=part))
        parts.append(Lines(lines))
    return Parts(*parts)


def drawn(digits: NDArray[np.float32], random: np.random.Generator) -> Gray:
    """Put digits ``(n, 8, 8)`` side by side in a line, ``(32, width)``."""
    sides = random.integers(*SIDE, size=len(digits))
    gaps = random.integers(*GAP, size=len(digits) + 1) + 2
    paper = torch.zeros(1, HEIGHT, int(sides.sum() + gaps.sum()))
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
