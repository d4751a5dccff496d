"""Lines as a sequence: how they are divided into parts, and what of them is kept in memory."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from spatial_lstm.handwriting.data import (
    Cache,
    Line,
    Lines,
    Pictures,
    Refusal,
    divide,
    read_lines,
    scaled,
)
from tests.handwriting import Row, alto, scribbled, write


def made(pages: Sequence[tuple[str | None, int]], parts: Sequence[str | None] = ()) -> Lines:
    """Lines without pixels: how many of each page, and the part that each page is named to be in."""
    nowhere, shared = Path("nowhere"), Pictures()
    return Lines(
        Line(f"{page}{k}", "text", page, nowhere, nowhere, shared, part=part)
        for (page, count), part in zip(pages, parts or [None] * len(pages), strict=True)
        for k in range(count)
    )


def test_pages_are_not_divided() -> None:
    lines = made([(f"page {k}", 5 + k) for k in range(20)])
    parts = divide(lines, seed=3)
    pages = [set(part.pages()) for part in (parts.train, parts.validation, parts.test)]
    assert set.union(*pages) == set(lines.pages())
    assert sum(map(len, pages)) == 20
    assert sum(map(len, (parts.train, parts.validation, parts.test))) == len(lines)
    for part in (parts.validation, parts.test):
        assert 0.05 < len(part) / len(lines) < 0.15


def test_the_division_depends_on_the_seed_alone() -> None:
    lines = made([(f"page {k}", 5) for k in range(20)])
    backward = Lines(list(lines)[::-1])
    assert divide(lines, seed=1).test.pages() == divide(backward, seed=1).test.pages()[::-1]
    assert divide(lines, seed=1).test.pages() != divide(lines, seed=2).test.pages()


def test_lines_of_no_known_page_are_divided_one_by_one() -> None:
    parts = divide(made([(None, 50)]), validation=0.2, test=0)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (40, 10, 0)


def test_of_named_parts_only_a_missing_validation_is_drawn() -> None:
    lines = made([(f"page {k}", 5) for k in range(12)], ["train"] * 9 + ["test"] * 2 + [None])
    parts = divide(lines)
    assert parts.test.pages() == ["page 9", "page 10"]
    assert len(parts.validation) == 5
    assert len(parts.train) == 45


@pytest.mark.parametrize(
    ("lines", "options", "error"),
    [
        (made([("a", 9), ("b", 9)]), {}, "expected more than 2 pages to divide, got 2"),
        (made([("a", 9)]), {"test": 1}, "expected fractions from 0 with a sum below 1"),
        (made([("a", 2), ("a", 2)], ["validation", "test"]), {}, "expected the lines of a page in one part, got a"),
    ],
    ids=["too few", "too much", "a page in two"],
)
def test_what_cannot_be_divided_is_an_error(lines: Lines, options: dict[str, float], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        divide(lines, **options)


def test_lines_are_a_sequence() -> None:
    lines = made([("a", 2), ("b", 1)])
    assert isinstance(lines[1:], Lines)
    assert [line.id for line in lines[1:]] == ["a1", "b0"]
    assert lines.pages() == ["a", "b"]
    assert len(lines + lines[:1]) == 4
    assert repr(lines) == "Lines(3 lines of 2 pages)"
    unread = Line("x", None, None, Path("x"), Path("x"), Pictures())
    with pytest.raises(ValueError, match="got 1 of 4 without"):
        (lines + Lines([unread])).texts()


def test_a_line_cut_from_a_reduced_page_is_the_same_line(tmp_path: Path) -> None:
    """A line of 16 pixels comes from a quarter of the page."""
    size = (1600, 1200)
    large = Row(baseline="160,400 1440,450", polygon="160,280 1440,330 1440,490 160,440")
    write(tmp_path, alto([large], size=size), scribbled(0, (20, 15)).resize(size))
    ((line,), _) = read_lines(tmp_path)
    found, whole = line.image(16), scaled(line.image(), 16)
    assert abs(found.shape[1] - whole.shape[1]) <= 1
    width = min(found.shape[1], whole.shape[1])
    assert np.corrcoef(found[:, :width].ravel(), whole[:, :width].ravel())[0, 1] > 0.99
    assert {image.shape[0] for image in line.pictures.pages._arrays.values()} == {1200, 300}


def test_lines_in_memory() -> None:
    gray = np.asarray(scribbled(0, (60, 20)))
    line = Line.of_pixels("a", "text", gray, page="p", part="train")
    assert line.image() is gray
    assert line.image(10).shape == (10, 30)
    assert divide(Lines([line]), validation=0, test=0).train.texts() == ["text"]
    with pytest.raises(TypeError, match="expected an array of uint8, got float64"):
        Line.of_pixels("a", "text", gray / 255)


def test_a_cache_is_bounded_and_keeps_what_was_asked_for_last() -> None:
    cache, calls = Cache(1), []

    def make(name: str, kib: int = 400) -> Callable[[], np.ndarray]:
        def made() -> np.ndarray:
            calls.append(name)
            return np.zeros(kib * 1024, np.uint8)

        return made

    for name in ("a", "b", "a", "c", "a", "b"):
        cache.get(name, make(name))
        assert cache.nbytes() <= 2**20
    assert calls == ["a", "b", "c", "b"]
    assert cache.get("large", make("large", 3000)).nbytes == cache.nbytes()
    with pytest.raises(ValueError, match="read-only"):
        cache.get("large", make("large"))[0] = 1
    assert pickle.loads(pickle.dumps(cache)).nbytes() == 0


def test_pages_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And lines are cut again from no more than their own pixels; other processes begin anew."""
    write(tmp_path, alto([Row(), Row("l2")]), scribbled())
    lines, _ = read_lines(tmp_path, height=16)
    assert lines[0].image(16).shape[0] == 16
    (tmp_path / "page.png").unlink()
    assert [line.image(16).shape[0] for line in lines] == [16, 16]
    assert lines[0].image().shape[0] == 40
    with pytest.raises(Refusal, match="no image"):
        pickle.loads(pickle.dumps(lines))[0].image()
