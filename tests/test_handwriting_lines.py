"""Folders and lists of lines, their pixels, the cache, and how they are divided."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spatial_lstm.handwriting.data import (
    Cache,
    Line,
    Lines,
    Pictures,
    Refusal,
    divide,
    normalize,
    read_gray,
    read_lines,
    save_lines,
    scaled,
)
from tests.handwriting import Row, alto, page, scribbled, write


def save(path: Path, text: str | None = "text", seed: int = 0, size: tuple[int, int] = (60, 20)) -> None:
    """A picture of a line, and its transcript if there is a text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scribbled(seed, size).save(path)
    if text is not None:
        path.with_name(path.stem + ".gt.txt").write_text(text, encoding="utf-8")


def reasons(folder: Path, **options: bool) -> dict[str, str]:
    return {entry.file: entry.reason for entry in read_lines(folder, **options)[1].left_out}


def test_a_folder_of_lines(tmp_path: Path) -> None:
    for number, end in enumerate(("png", "jpg", "jpeg", "tif", "webp", "bmp", "gif", "PNG")):
        save(tmp_path / f"{number}.{end}", f"text {number}")
    save(tmp_path / "within" / "6.png", "\ufeffwithin \n")
    (tmp_path / "notes.txt").write_text("not read")
    lines, report = read_lines(tmp_path)
    assert lines.texts() == [*(f"text {number}" for number in range(8)), "within"]
    assert [line.page for line in lines] == [None] * 8 + ["within"]
    assert report.kept.total() == 9
    assert report.left_out == []
    np.testing.assert_array_equal(lines[0].image(), np.asarray(scribbled(0, (60, 20))))


def test_transcripts_of_binarized_pictures(tmp_path: Path) -> None:
    scribbled(0, (60, 20)).save(tmp_path / "1.bin.png")
    scribbled(0, (60, 20)).save(tmp_path / "1.nrm.png")
    (tmp_path / "1.gt.txt").write_text("text")
    lines, report = read_lines(tmp_path)
    assert [line.id for line in lines] == ["1.bin.png"]
    assert [(entry.file, entry.reason) for entry in report.left_out] == [
        ("1.nrm.png", "another picture has this transcript")
    ]


def test_what_is_left_out_of_a_folder_is_named(tmp_path: Path) -> None:
    save(tmp_path / "good.png")
    save(tmp_path / "silent.png", None)
    save(tmp_path / "empty.png", " \n")
    save(tmp_path / "long.png", "one\ntwo")
    save(tmp_path / "latin.png")
    (tmp_path / "latin.gt.txt").write_bytes("é".encode("iso-8859-1"))
    save(tmp_path / "torn.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "torn.png").read_bytes()[:400])
    save(tmp_path / "thin.png", size=(60, 4))
    save(tmp_path / "thread.png", size=(1000, 5))
    (tmp_path / "alone.gt.txt").write_text("text")
    os.symlink(tmp_path, tmp_path / "link")
    expected = {
        "silent.png": "no transcript",
        "empty.png": "empty text",
        "long.png": "text of several lines",
        "latin.png": "transcript is not UTF-8",
        "torn.png": "broken image",
        "thin.png": "too small",
        "thread.png": "too long for its height",
        "alone.gt.txt": "transcript without a picture",
        "link": "link to a folder",
    }
    assert reasons(tmp_path) == expected
    assert [line.id for line in read_lines(tmp_path)[0]] == ["good.png"]
    without = {name: reason for name, reason in expected.items() if name in ("torn.png", "thin.png", "thread.png")}
    assert reasons(tmp_path, texts=False) == without | {key: expected[key] for key in ("alone.gt.txt", "link")}


def test_the_table_says_what_was_left_out(tmp_path: Path) -> None:
    save(tmp_path / "good.png")
    save(tmp_path / "a|b.png", None)
    save(tmp_path / "c.png", None)
    report = read_lines(tmp_path)[1]
    assert report.summary() == "1 lines of 1 files; left out: no transcript (2)"
    table = report.markdown()
    assert "| 1 | kept, of 1 files |" in table
    assert "| 2 | left out: no transcript |" in table
    assert "| a\\|b.png | - | no transcript | a\\|b.gt.txt is not there |" in table
    assert "| and 1 more | | | |" in report.markdown(1)
    assert json.loads(json.dumps(report.to_dict()))["reasons"] == {"no transcript": 2}


def test_a_list_of_lines_and_pages(tmp_path: Path) -> None:
    save(tmp_path / "data" / "1.png", "one")
    write(tmp_path / "data" / "pages", page([Row()]), scribbled())
    listed = tmp_path / "train.txt"
    listed.write_text("data/1.png\n\ndata/pages/page.xml\ndata/2.png\ndata/1.png\ndata/1.gt.txt\n" + str(listed))
    lines, report = read_lines(listed)
    assert lines.texts() == ["some text", "one"]
    assert [(entry.file, entry.reason) for entry in report.left_out] == [
        ("data/2.png", "no such file"),
        ("data/1.png", "named twice"),
        ("train.txt", "neither a picture nor XML"),
    ]


def test_single_files(tmp_path: Path) -> None:
    save(tmp_path / "1.png", "one")
    xml = write(tmp_path / "pages", page([Row()]), scribbled())
    assert read_lines(tmp_path / "1.png", xml)[0].texts() == ["some text", "one"]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda folder: [], "got nothing"),
        (lambda folder: [folder / "nowhere"], "which is not there"),
        (lambda folder: [folder / "list"], "which is empty"),
        (lambda folder: [folder / "bytes"], "or a list of such"),
    ],
    ids=["nothing", "not there", "empty list", "no text"],
)
def test_what_is_no_input_is_an_error(make: Callable[[Path], list[Path]], error: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("\n")
    (tmp_path / "bytes").write_bytes(b"\xff\xff")
    with pytest.raises((ValueError, FileNotFoundError), match=error):
        read_lines(*make(tmp_path))


def test_lines_are_shown_to_a_progress_bar(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png")
    seen: list[int] = []

    def track(lines: Sequence[Line]) -> Iterable[Line]:
        for line in lines:
            seen.append(len(lines))
            yield line

    assert len(read_lines(tmp_path, track=track)[0]) == 3
    assert seen == [3, 3, 3]


def test_folders_name_parts(tmp_path: Path) -> None:
    for folder in ("train", "val", "TEST", "train/page7"):
        save(tmp_path / folder / "1.png", folder)
    lines, _ = read_lines(tmp_path)
    assert {line.text: line.part for line in lines} == {
        "train": "train",
        "val": "validation",
        "TEST": "test",
        "train/page7": "train",
    }
    assert [line.page for line in lines.of_part("train")] == [None, "train/page7"]
    parts = divide(lines)
    assert (parts.train.texts(), parts.validation.texts(), parts.test.texts()) == (
        ["train", "train/page7"],
        ["val"],
        ["TEST"],
    )


def test_a_list_beside_the_pages_names_parts(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path, alto([Row()], image=f"{name}.png"), None, name=name)
        scribbled().save(tmp_path / f"{name}.png")
    (tmp_path / "split.json").write_text('{"page_files": {"train": ["a.xml"], "val": ["b.xml"], "test": ["c.xml"]}}')
    assert [(line.page, line.part) for line in read_lines(tmp_path)[0]] == [
        ("a.png", "train"),
        ("b.png", "validation"),
        ("c.png", "test"),
    ]
    (tmp_path / "split.json").write_text('{"page_files": {"most": ["a.xml"]}}')
    with pytest.raises(ValueError, match="KeyError: 'most'"):
        read_lines(tmp_path)


def test_saved_lines_are_read_again(tmp_path: Path) -> None:
    write(tmp_path / "pages" / "train", alto([Row()]), scribbled())
    save(tmp_path / "pages" / "val" / "1.png", "één")
    lines, _ = read_lines(tmp_path / "pages")
    save_lines(lines, tmp_path / "lines")
    again, report = read_lines(tmp_path / "lines")
    assert report.left_out == []
    assert [(line.text, line.part) for line in again] == [("some text", "train"), ("één", "validation")]
    for one, other in zip(lines, again, strict=True):
        np.testing.assert_array_equal(one.image(), other.image())
    with pytest.raises(FileExistsError, match="expected a new or empty folder"):
        save_lines(lines, tmp_path / "lines")


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


PICTURES: dict[str, Callable[[np.ndarray], Image.Image]] = {
    "gray": Image.fromarray,
    "colors": lambda gray: Image.fromarray(gray).convert("RGB"),
    "16 bits": lambda gray: Image.fromarray(gray.astype(np.uint16) * 256),
    "12 bits in 16": lambda gray: Image.fromarray(gray.astype(np.uint16) * 16),
    "8 bits in 16": lambda gray: Image.fromarray(gray.astype(np.uint16)),
    "palette": lambda gray: Image.fromarray(gray).convert("P"),
    "transparent": lambda gray: Image.merge(
        "RGBA", [Image.new("L", gray.shape[::-1])] * 3 + [Image.fromarray(255 - gray)]
    ),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_of_all_kinds_are_gray(kind: str, tmp_path: Path) -> None:
    gray = np.asarray(scribbled(0, (30, 20)))
    PICTURES[kind](gray).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_gray(tmp_path / "a.png"), gray)


@pytest.mark.parametrize("end", ["png", "jpg"])
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_pictures_are_read_at_a_fraction(end: str, reduction: int, tmp_path: Path) -> None:
    smooth = np.asarray(scribbled(0, (6, 4)).resize((99, 67)))
    Image.fromarray(smooth).convert("RGB").save(tmp_path / f"a.{end}", quality=95)
    found = read_gray(tmp_path / f"a.{end}", reduction=reduction)
    expected = np.asarray(Image.fromarray(smooth).reduce(reduction))
    assert found.shape == expected.shape
    assert np.corrcoef(found[:-1, :-1].ravel(), expected[:-1, :-1].ravel())[0, 1] > 0.99


def test_a_broken_tiff_is_a_refusal_whatever_its_decoder_raises(tmp_path: Path) -> None:
    """Of one without dimensions Pillow raises a TypeError."""
    scribbled(0, (30, 20)).save(tmp_path / "a.tif")
    data = (tmp_path / "a.tif").read_bytes()
    width = struct.pack("<HHI", 0x0100, 4, 1)
    assert data.count(width) == 1
    (tmp_path / "a.tif").write_bytes(data.replace(width, struct.pack("<HHI", 0x0101, 4, 1)))
    with pytest.raises(Refusal, match="broken image"):
        read_gray(tmp_path / "a.tif")


def test_black_and_white(tmp_path: Path) -> None:
    gray = np.asarray(scribbled(0, (30, 20)))
    Image.fromarray(gray > 127).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_gray(tmp_path / "a.tif"), (gray > 127).astype(np.uint8) * 255)


def test_scaling_keeps_proportions() -> None:
    gray = np.asarray(scribbled(0, (100, 40)))
    assert scaled(gray, 20).shape == (20, 50)
    assert scaled(gray[:, :1], 4).shape == (4, 1)
    assert scaled(gray, 40) is gray


def line_of(paper: int, ink: int) -> np.ndarray:
    image = np.full((48, 100), paper, np.uint8)
    image[10:30, 40:60] = ink
    return image


@pytest.mark.parametrize(("paper", "ink"), [(220, 30), (255, 0), (128, 40), (20, 250)])
def test_ink_is_one_and_paper_zero(paper: int, ink: int) -> None:
    found = normalize(line_of(paper, ink), 48)
    assert found.shape == (1, 48, 100)
    assert found.dtype == torch.float32
    expected = torch.zeros(1, 48, 100)
    expected[0, 10:30, 40:60] = 1
    torch.testing.assert_close(found, expected)


def test_faint_ink_stays_faint() -> None:
    found = normalize(line_of(200, 184), 48)
    assert found.max() == 16 / 64
    assert (normalize(np.full((48, 10), 99, np.uint8), 48) == 0).all()


def test_normalized_lines_have_the_networks_height() -> None:
    assert normalize(line_of(220, 30), 24).shape == (1, 24, 50)


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (np.zeros((3, 4), np.float32), TypeError),
        ([[0]], TypeError),
        (np.zeros((3, 4, 3), np.uint8), ValueError),
        (np.zeros((0, 4), np.uint8), ValueError),
    ],
    ids=["floats", "list", "colors", "empty"],
)
def test_what_is_no_line_is_an_error(image: np.ndarray, error: type[Exception]) -> None:
    with pytest.raises(error, match="expected"):
        normalize(image, 48)


def test_lines_given_one_by_one_or_listed_are_of_no_known_page(tmp_path: Path) -> None:
    """Nor are they where they lie in one folder with the list; a folder beside the list is a page's."""
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        save(path)
    (tmp_path / "list.txt").write_text("a.png\nb.png\n")
    for given in (paths, [tmp_path / "list.txt"]):
        assert read_lines(*given)[0].pages() == []
    save(tmp_path / "p1" / "c.png")
    (tmp_path / "list.txt").write_text("a.png\np1/c.png\n")
    assert read_lines(tmp_path / "list.txt")[0].pages() == ["p1"]
