"""Folders and lists of lines: which are read, which are left out and why, and which parts they name."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from spatial_lstm.handwriting.data import (
    Line,
    Pictures,
    divide,
    read_lines,
    save_lines,
)
from tests.handwriting import Row, alto, page, save_line, scribbled, write


def reasons(folder: Path, **options: bool) -> dict[str, str]:
    return {entry.file: entry.reason for entry in read_lines(folder, **options)[1].left_out}


def test_a_folder_of_lines(tmp_path: Path) -> None:
    for number, end in enumerate(("png", "jpg", "jpeg", "tif", "webp", "bmp", "gif", "PNG")):
        save_line(tmp_path / f"{number}.{end}", f"text {number}")
    save_line(tmp_path / "within" / "6.png", "\ufeffwithin \n")
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


@pytest.mark.parametrize(
    ("picture", "transcript"),
    [
        ("A.PNG", "A.GT.TXT"),
        ("a.png", "A.gt.txt"),
        ("a.bin.png", "A.Gt.Txt"),
        (unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.gt.txt")),
    ],
)
def test_a_transcript_may_be_named_in_another_case_or_normal_form(
    picture: str, transcript: str, tmp_path: Path
) -> None:
    save_line(tmp_path / picture, None)
    (tmp_path / transcript).write_text("text")
    lines, report = read_lines(tmp_path)
    assert [(line.id, line.text) for line in lines] == [(picture, "text")]
    assert report.left_out == []


def test_of_pictures_told_apart_by_case_one_has_the_transcript_of_its_very_name(tmp_path: Path) -> None:
    for name in ("A.png", "a.png", "B.png", "b.png"):
        save_line(tmp_path / name, None)
    (tmp_path / "a.gt.txt").write_text("text")
    (tmp_path / "b.GT.txt").write_text("whose?")
    assert [(line.id, line.text) for line in read_lines(tmp_path)[0]] == [("a.png", "text")]
    without = dict.fromkeys(("A.png", "B.png", "b.png"), "no transcript")
    assert reasons(tmp_path) == without | {"b.GT.txt": "transcript without a picture"}


@pytest.mark.parametrize("xml", ["<TEI/>", "<alto><Layout>"], ids=["no layout", "broken"])
def test_a_picture_beside_xml_that_is_no_page_is_a_line_if_it_has_a_transcript(xml: str, tmp_path: Path) -> None:
    """Without one it is a page, also where no texts are needed."""
    save_line(tmp_path / "line.png")
    save_line(tmp_path / "page.PNG", None)
    for name in ("line", "page"):
        (tmp_path / f"{name}.xml").write_text(xml)
    for texts in (True, False):
        lines, report = read_lines(tmp_path, texts=texts)
        assert [line.id for line in lines] == ["line.png"]
        assert [entry.file for entry in report.left_out] == ["line.xml", "page.xml"]


def test_what_is_left_out_of_a_folder_is_named(tmp_path: Path) -> None:
    save_line(tmp_path / "good.png")
    save_line(tmp_path / "silent.png", None)
    save_line(tmp_path / "empty.png", " \n")
    save_line(tmp_path / "long.png", "one\ntwo")
    save_line(tmp_path / "latin.png")
    (tmp_path / "latin.gt.txt").write_bytes("é".encode("iso-8859-1"))
    save_line(tmp_path / "torn.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "torn.png").read_bytes()[:400])
    save_line(tmp_path / "thin.png", size=(60, 4))
    save_line(tmp_path / "thread.png", size=(1000, 5))
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
    save_line(tmp_path / "good.png")
    save_line(tmp_path / "a|b.png", None)
    save_line(tmp_path / "c.png", None)
    report = read_lines(tmp_path)[1]
    assert report.summary() == "1 lines of 1 files; left out: no transcript (2)"
    table = report.markdown()
    assert "| 1 | kept, of 1 files |" in table
    assert "| 2 | left out: no transcript |" in table
    assert "| a\\|b.png | - | no transcript | a\\|b.gt.txt is not there |" in table
    assert "| and 1 more | | | |" in report.markdown(1)
    assert json.loads(json.dumps(report.to_dict()))["reasons"] == {"no transcript": 2}


def test_a_list_of_lines_and_pages(tmp_path: Path) -> None:
    save_line(tmp_path / "data" / "1.png", "one")
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


def test_what_is_no_file_in_a_list_is_named(tmp_path: Path) -> None:
    save_line(tmp_path / "1.png", "one")
    (tmp_path / "folder.png").mkdir()
    listed = tmp_path / "train.txt"
    listed.write_text("1.png\nfolder.png\n" + "a" * 300 + ".png\nb\0c.png\n")
    lines, report = read_lines(listed)
    assert lines.texts() == ["one"]
    assert [(entry.file, entry.reason) for entry in report.left_out] == [
        ("folder.png", "a folder in a list"),
        ("a" * 300 + ".png", "no such file"),
        ("b\0c.png", "no such file"),
    ]


def test_a_replaced_picture_is_read_anew(tmp_path: Path) -> None:
    pictures = Pictures()
    for seed in (0, 1):
        save_line(tmp_path / "1.png", seed=seed)
        os.utime(tmp_path / "1.png", ns=(seed, seed))
        ((line,), _) = read_lines(tmp_path, pictures=pictures)
        np.testing.assert_array_equal(line.image(), np.asarray(scribbled(seed, (60, 20))))


@pytest.mark.parametrize("height", [0, -3, 2.5, "48"])
def test_a_height_is_a_positive_int(height: int, tmp_path: Path) -> None:
    save_line(tmp_path / "1.png")
    ((line,), _) = read_lines(tmp_path)
    made = Line.of_pixels("1", "text", line.image())
    for call in (
        lambda: read_lines(tmp_path, decode=False, height=height),
        *(lambda own=own: own.image(height) for own in (line, made)),
    ):
        with pytest.raises((TypeError, ValueError), match="expected height to be"):
            call()


def test_single_files(tmp_path: Path) -> None:
    save_line(tmp_path / "1.png", "one")
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
        save_line(tmp_path / f"{number}.png")
    seen: list[int] = []

    def track(lines: Sequence[Line]) -> Iterable[Line]:
        for line in lines:
            seen.append(len(lines))
            yield line

    assert len(read_lines(tmp_path, track=track)[0]) == 3
    assert seen == [3, 3, 3]


def test_folders_name_parts(tmp_path: Path) -> None:
    for folder in ("train", "val", "TEST", "train/page7"):
        save_line(tmp_path / folder / "1.png", folder)
    lines, _ = read_lines(tmp_path)
    assert {line.text: line.part for line in lines} == {
        "train": "train",
        "val": "validation",
        "TEST": "test",
        "train/page7": "train",
    }
    assert [line.page for line in lines.of_part("train")] == [None, "train/page7"]
    assert len(lines.of_part(None)) == 0
    with pytest.raises(ValueError, match=r"one of \('train', 'validation', 'test'\) or None, got 'val'"):
        lines.of_part("val")
    parts = divide(lines)
    assert (parts.train.texts(), parts.validation.texts(), parts.test.texts()) == (
        ["train", "train/page7"],
        ["val"],
        ["TEST"],
    )


def test_folders_given_side_by_side_name_parts_as_their_folder_does(tmp_path: Path) -> None:
    """Unless all are called train: those are data of several kinds."""
    for folder in ("a/train", "a/val", "a/test", "b/train"):
        save_line(tmp_path / folder / "1.png", folder)
    together, _ = read_lines(tmp_path / "a")
    apart, _ = read_lines(*sorted((tmp_path / "a").iterdir()))
    assert [(line.text, line.part) for line in apart] == sorted((line.text, line.part) for line in together)
    assert [line.part for line in read_lines(tmp_path / "b" / "train", tmp_path / "a" / "test")[0]] == ["train", "test"]
    for folders in (("a/train", "b/train"), ("a/test",), ("a/val", "a/test"), ("a/train",)):
        lines, _ = read_lines(*(tmp_path / folder for folder in folders))
        assert {line.part for line in lines} == {None}


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


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ({"most": ["a.xml"]}, "KeyError: 'most'"),
        ({"train": "a.xml"}, "TypeError: 'a.xml' for train"),
        ({"train": [1]}, r"TypeError: \[1\] for train"),
        ({"train": ["a.xml"], "test": ["A.xml"]}, "ValueError: 'A.xml' in two parts"),
        (["a.xml"], "AttributeError"),
    ],
)
def test_a_list_of_parts_that_is_none_is_refused(told: object, error: str, tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text(json.dumps({"page_files": told}))
    with pytest.raises(ValueError, match=rf"expected .*split.json to be like .*, got {error}"):
        read_lines(tmp_path)


def test_a_list_of_parts_names_files_as_systems_do_and_those_that_are_not_there_are_told(tmp_path: Path) -> None:
    """By their names or by their places, whatever the case and the form of Unicode."""
    for place in ("A/1", "b/1", "c/\u00e9"):
        write(tmp_path / place[0], alto([Row()]), scribbled(), name=place[2:])
    told = {"train": ["a/1.XML", "d"], "val": ["b/1.xml"], "test": ["e\u0301.xml", "c.png"]}
    (tmp_path / "split.json").write_text(json.dumps({"page_files": told}))
    lines, report = read_lines(tmp_path)
    assert [line.part for line in lines] == ["train", "validation", "test"]
    left = [(entry.file, entry.line, entry.reason, entry.detail) for entry in report.left_out]
    assert left == [
        ("split.json", "d", "no such XML file", "its part is train"),
        ("split.json", "c.png", "no such XML file", "its part is test"),
    ]


def test_saved_lines_are_read_again(tmp_path: Path) -> None:
    write(tmp_path / "pages" / "train", alto([Row()]), scribbled())
    save_line(tmp_path / "pages" / "val" / "1.png", "één")
    lines, _ = read_lines(tmp_path / "pages")
    save_lines(lines, str(tmp_path / "lines"))
    again, report = read_lines(tmp_path / "lines")
    assert report.left_out == []
    assert [(line.text, line.part) for line in again] == [("some text", "train"), ("één", "validation")]
    for one, other in zip(lines, again, strict=True):
        np.testing.assert_array_equal(one.image(), other.image())
    with pytest.raises(FileExistsError, match="expected a new or empty folder"):
        save_lines(lines, tmp_path / "lines")


def test_lines_given_one_by_one_or_listed_are_of_no_known_page(tmp_path: Path) -> None:
    """Nor are they where they lie in one folder with the list; a folder beside the list is a page's."""
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        save_line(path)
    (tmp_path / "list.txt").write_text("a.png\nb.png\n")
    for given in (paths, [tmp_path / "list.txt"]):
        assert read_lines(*given)[0].pages() == []
    save_line(tmp_path / "p1" / "c.png")
    (tmp_path / "list.txt").write_text("a.png\np1/c.png\n")
    assert read_lines(tmp_path / "list.txt")[0].pages() == ["p1"]


def test_pages_are_the_same_however_they_are_named(tmp_path: Path) -> None:
    """By the folder of their folders, by these, by some of them twice, by a list, by their lines."""
    for number in range(7):
        for line in "ab":
            save_line(tmp_path / "set" / f"p{number}" / f"{line}.png", f"{number}{line}")
    folders, files = sorted((tmp_path / "set").glob("*")), sorted((tmp_path / "set").glob("*/*.png"))
    (tmp_path / "list.txt").write_text("\n".join(map(str, files)))
    ways = (
        [tmp_path / "set"],
        folders,
        [f"{folder}/" for folder in (*folders, folders[0])],
        [*folders[:6], *files[12:]],
    )
    for way in (*ways, [tmp_path / "set", folders[3]], files):
        lines, _ = read_lines(*way)
        assert lines.pages() == [folder.name for folder in folders]
        parts = divide(lines, validation=0.2, test=0.3)
        assert [len(part.pages()) for part in (parts.train, parts.validation, parts.test)] == [4, 1, 2]
        assert parts.test.pages() == divide(read_lines(tmp_path / "set")[0], validation=0.2, test=0.3).test.pages()
    assert len(read_lines(tmp_path / "list.txt")[0].pages()) == 7


def test_one_folder_of_lines_is_no_page_nor_is_one_that_names_a_part(tmp_path: Path) -> None:
    for folder in ("train", "more", "more/within"):
        save_line(tmp_path / folder / "1.png")
    assert read_lines(tmp_path / "train")[0].pages() == []
    assert read_lines(f"{tmp_path}/more/", tmp_path / "more")[0].pages() == ["within"]
    assert read_lines(tmp_path / "more" / "within", tmp_path / "more")[0].pages() == ["within"]
    assert read_lines(tmp_path / "train", tmp_path / "more" / "within")[0].pages() == ["more/within"]
