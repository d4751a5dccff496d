"""The benchmark of the reader of handwriting on words and lines, small."""

from __future__ import annotations

import pytest
import torch

from benchmarks import recognizer
from benchmarks.harness import Budget


def test_every_way_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORDS": (20, 40), "LINES": (60, 90), "CLASSES": 5}.items():
        monkeypatch.setattr(recognizer, name, value)
    row = recognizer.measure_ways((3, 1), 1, Budget(0.0, least=1, most=1))
    assert 1 < row["padded_pixels"] / row["pixels"] < 3
    text = recognizer.table({"rows": [row]})
    assert f"| 1 | {recognizer.REAL} | " in text
    assert len(text.splitlines()) == 2 + 5


def test_padding_is_told_as_if_it_were_part_of_the_picture() -> None:
    (images, widths, *_), (same, told, *_) = recognizer.batch_of([5, 9]), recognizer.batch_of([5, 9], padded=True)
    assert torch.equal(images, same)
    assert widths.tolist() == [5, 9]
    assert told.tolist() == [9, 9]
