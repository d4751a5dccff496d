"""Strings of handwritten digits: which there are, and what is wrong with files of them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from spatial_lstm.handwriting.training import digit_lines, digits

pytest.importorskip("sklearn")


def test_digits_are_those_of_their_seed() -> None:
    few = digit_lines(train=12, validation=3, test=2)
    again, more = digit_lines(train=2, validation=3, test=2), digit_lines(train=2, validation=3, test=2, seed=1)
    assert again.train.texts() == few.train[:2].texts()
    np.testing.assert_array_equal(again.test[1].image(), few.test[1].image())
    assert more.train.texts() != again.train.texts()
    assert {line.part for line in again.test} == {"test"}
    assert all(
        3 <= len(text) <= 8 and line.image().shape[0] == digits.HEIGHT
        for text, line in zip(few.train.texts(), few.train, strict=True)
    )


def write_mnist(folder: Path, counts: Mapping[str, int]) -> Path:
    """Files like MNIST's: a digit of class k is k + 1 rows of ink within the border."""
    for name, count in counts.items():
        labels = np.arange(count, dtype=np.uint8) % 10
        images = np.zeros((count, 28, 28), np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[4 : 5 + label, 4:24] = 255
        for what, values in ((f"{name}-images-idx3-ubyte", images), (f"{name}-labels-idx1-ubyte", labels)):
            head = b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
            (folder / what).write_bytes(head + values.tobytes())
    return folder


def test_digits_of_mnists_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "MNIST", {"train": slice(20), "validation": slice(20, None)})
    parts = digit_lines(write_mnist(tmp_path, {"train": 30, "t10k": 10}), train=4, validation=3, test=2)
    assert [len(getattr(parts, name)) for name in ("train", "validation", "test")] == [4, 3, 2]
    for line in parts.train:
        image, text = line.image(), str(line.text)
        # The more ink, the larger the digits: 20 columns of k + 1 rows each, at most 24 / 20 as large.
        ink = ((225 - image.astype(float)) / 185).sum()
        wanted = sum(20 * (int(digit) + 1) for digit in text)
        assert 0.5 * wanted < ink < 1.6 * wanted


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (
            "train-labels-idx1-ubyte",
            "expected train-labels-idx1-ubyte\\[.gz\\] beside .*train-images-idx3-ubyte, got none",
        ),
        ("t10k-images-idx3-ubyte", "expected t10k-images-idx3-ubyte\\[.gz\\] beside"),
    ],
)
def test_files_of_digits_that_are_missing(tmp_path: Path, broken: str, words: str) -> None:
    (write_mnist(tmp_path, {"train": 3, "t10k": 3}) / broken).unlink()
    with pytest.raises(ValueError, match=words):
        digit_lines(tmp_path)


def test_files_of_too_few_digits_or_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a folder with MNIST's IDX files, .*, got "):
        digit_lines(tmp_path)
    with pytest.raises(ValueError, match="expected more than 50,000 digits in .*, got 3"):
        digit_lines(write_mnist(tmp_path, {"train": 3, "t10k": 3}))
    for name in ("train", "t10k"):
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + struct.pack(">I", 2) + b"\1\2")
    with pytest.raises(ValueError, match="expected a label for each of 3 images of .*, got 2"):
        digit_lines(tmp_path)
