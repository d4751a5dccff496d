"""Pages with ALTO or PAGE XML: what is read, and what is left out by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spatial_lstm.handwriting.data import Lines, Pictures, Refusal, Report, read_lines
from spatial_lstm.handwriting.data.outline import parse_points
from tests.handwriting import (
    FORMATS,
    HEIGHT,
    WIDTH,
    Row,
    alto,
    assert_same_pixels,
    band,
    page,
    points,
    scribbled,
    stroke,
    write,
)

GOOD = Row()
LOWER = Row("l2", "another", "40,200 360,220", "40,170 360,190 360,230 40,210")
both = pytest.mark.parametrize("form", FORMATS)


def read(folder: Path, **options: bool) -> tuple[Lines, Report]:
    return read_lines(folder, **options)


def left_out(report: Report) -> list[tuple[str, str, str]]:
    return [(entry.file, entry.line, entry.reason) for entry in report.left_out]


def test_both_formats_of_a_page_give_the_same_lines(tmp_path: Path) -> None:
    for name, form in FORMATS.items():
        write(tmp_path / name, form([GOOD, LOWER]), scribbled())
    found = {name: read(tmp_path / name)[0] for name in FORMATS}
    assert [line.id for line in found["alto"]] == ["l1", "l2"]
    assert found["alto"].texts() == ["some text", "another"]
    assert found["page"].texts() == found["alto"].texts()
    for one, other in zip(found["alto"], found["page"], strict=True):
        assert one.id == other.id
        np.testing.assert_array_equal(one.image(), other.image())
    assert not np.array_equal(found["page"][0].image(), found["page"][1].image())


@both
def test_a_slanted_line_is_cut_straight(form: str, tmp_path: Path) -> None:
    path = [(40, 100), (360, 150)]
    row = Row(baseline=points(path), polygon=band(path, 30, 10))
    write(tmp_path, FORMATS[form]([row]), stroke(path, above=15))
    ((line,), report) = read(tmp_path)
    dark = np.maximum(220 - line.image().astype(int), 0)[:, 10:-10]
    rows = (dark * np.arange(len(dark))[:, None]).sum(0) / dark.sum(0)
    assert np.ptp(rows) < 3
    assert report.summary() == "1 lines of 1 files; nothing left out"


REFUSED: dict[str, tuple[Row, str]] = {
    "empty baseline": (replace(GOOD, baseline=""), "empty baseline"),
    "one point": (replace(GOOD, baseline="40,100"), "baseline of one point"),
    "twice the same point": (replace(GOOD, baseline="40,100 40,100"), "baseline of one point"),
    "half a point": (replace(GOOD, baseline="40,100 360"), "broken points"),
    "words for points": (replace(GOOD, baseline="here,there 3,4"), "broken points"),
    "infinite": (replace(GOOD, baseline="40,100 1e999,100"), "broken points"),
    "not a number": (replace(GOOD, polygon="nan,70 360,70 360,110"), "broken points"),
    "polygon of two points": (replace(GOOD, polygon="40,70 360,110"), "broken points"),
    "polygon elsewhere": (replace(GOOD, polygon="1000,70 1300,70 1300,110 1000,110"), "outside of the page"),
    "baseline elsewhere": (replace(GOOD, baseline="40,1000 360,1000"), "outside of the page"),
    "far away": (replace(GOOD, baseline="0,0 1e15,1e15", polygon=None), "outside of the page"),
    "to and fro": (replace(GOOD, baseline="40,100 360,101 40,102 360,103"), "baseline to and fro"),
    "under another line": (replace(GOOD, baseline="40,250 360,250"), "baseline away from its polygon"),
    "across the page": (replace(GOOD, baseline="200,0 205,300"), "baseline away from its polygon"),
    "polygon without an inside": (replace(GOOD, polygon="40,100 360,100 200,100"), "too small"),
    "too many points": (replace(GOOD, baseline="40,100 41,100 " * 5001), "broken points"),
    "no outline": (replace(GOOD, baseline=None, polygon=None), "no outline"),
    "a dot": (Row("l1", "x", None, "40,70 42,70 42,72 40,72"), "too small"),
    "flat": (Row("l1", "x", None, "40,70 360,70 360,70.5 40,70"), "too small"),
    "empty text": (replace(GOOD, text="  "), "empty text"),
    "no text": (replace(GOOD, text=None), "no text"),
}


@both
@pytest.mark.parametrize("what", REFUSED)
def test_a_line_is_left_out_with_its_reason(what: str, form: str, tmp_path: Path) -> None:
    """And the other lines of the page are kept; one without a text is only left out where texts are needed."""
    row, reason = REFUSED[what]
    write(tmp_path, FORMATS[form]([row, LOWER]), scribbled())
    lines, report = read(tmp_path)
    assert [line.id for line in lines] == ["l2"]
    assert left_out(report) == [("page.xml", "l1", reason)]
    about_text = "text" in reason
    assert [line.text for line in read(tmp_path, texts=False)[0]] == [*([None] if about_text else []), "another"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,15 40,15 40", "expected an even number of coordinates, got 5"),
        ("1,15 " * 10_001, "expected at most 10000 points, got 10001"),
    ],
)
def test_what_is_wrong_with_points_is_said(text: str, said: str) -> None:
    with pytest.raises(Refusal, match=said):
        parse_points(text)


@both
def test_a_line_without_a_baseline_is_its_box(form: str, tmp_path: Path) -> None:
    write(tmp_path, FORMATS[form]([replace(GOOD, baseline=None, polygon="40,70 99,70 99,89 40,89")]), scribbled())
    ((line,), _) = read(tmp_path)
    assert_same_pixels(line.image(), np.asarray(scribbled())[70:90, 40:100])


@both
def test_lines_without_an_id_or_with_anothers_are_numbered(form: str, tmp_path: Path) -> None:
    rows = [replace(GOOD, id=None), LOWER, replace(GOOD, id="twice"), replace(GOOD, id="twice")]
    write(tmp_path, FORMATS[form](rows), scribbled())
    assert [line.id for line in read(tmp_path)[0]] == ["#1", "l2", "#3", "#4"]
    write(tmp_path, FORMATS[form]([replace(GOOD, id="#2"), replace(LOWER, id=None), replace(GOOD, id="#9")]), None)
    assert [line.id for line in read(tmp_path)[0]] == ["#1", "#2", "#9"]


# What is told, the text that is taken, or why none is.
TEXTS: dict[str, tuple[str, str | None, str | None]] = {
    "index 0 before others": (
        '<TextEquiv index="1"><Unicode>old</Unicode></TextEquiv><TextEquiv index="0"><Unicode>new</Unicode></TextEquiv>',
        "new",
        None,
    ),
    "no index before others": (
        '<TextEquiv index="1"><Unicode>old</Unicode></TextEquiv><TextEquiv><Unicode>new</Unicode></TextEquiv>',
        "new",
        None,
    ),
    "only old": ('<TextEquiv index="1"><Unicode>old</Unicode></TextEquiv>', None, "only old results of recognition"),
    "two lines": ("<TextEquiv><Unicode>one\ntwo</Unicode></TextEquiv>", None, "text of several lines"),
    "words": (
        "<Word><TextEquiv><Unicode>two</Unicode></TextEquiv></Word><Word><TextEquiv><Unicode>words</Unicode></TextEquiv></Word>",
        "two words",
        None,
    ),
    "a word without a text": (
        "<Word><TextEquiv><Unicode>two</Unicode></TextEquiv></Word><Word/>"
        "<Word><TextEquiv><Unicode>words</Unicode></TextEquiv></Word>",
        None,
        "words without text",
    ),
    "a word with an empty text": (
        "<Word><TextEquiv><Unicode>two</Unicode></TextEquiv></Word><Word><TextEquiv><Unicode/></TextEquiv></Word>",
        None,
        "words without text",
    ),
    "words without any text": ("<Word/><Word/>", None, "no text"),
    "the line before its words": (
        "<Word><TextEquiv><Unicode>old</Unicode></TextEquiv></Word><TextEquiv><Unicode>new</Unicode></TextEquiv>",
        "new",
        None,
    ),
    "the line before a word without a text": (
        "<Word/><Word><TextEquiv><Unicode>old</Unicode></TextEquiv></Word><TextEquiv><Unicode>new</Unicode></TextEquiv>",
        "new",
        None,
    ),
    "entities": ("<TextEquiv><Unicode>a &lt; b &amp; c &#233;</Unicode></TextEquiv>", "a < b & c é", None),
}


@pytest.mark.parametrize("what", TEXTS)
def test_texts_of_page_xml(what: str, tmp_path: Path) -> None:
    told, expected, reason = TEXTS[what]
    xml = page([GOOD]).replace("<TextEquiv><Unicode>some text</Unicode></TextEquiv>", told)
    write(tmp_path, xml, scribbled())
    lines, report = read(tmp_path)
    assert [line.text for line in lines] == ([] if expected is None else [expected])
    assert left_out(report) == ([] if reason is None else [("page.xml", "l1", reason)])


WORDS = {
    '<String CONTENT="two"/><SP/><String CONTENT="words"/>': "two words",
    '<String CONTENT="two"/><String CONTENT="words"/>': "two words",
    '<String CONTENT="bro"/><SP/><String CONTENT="ken"/><HYP CONTENT="-"/>': "bro ken-",
    '<String CONTENT="a"><ALTERNATIVE>b</ALTERNATIVE></String>': "a",
}


@pytest.mark.parametrize("words", WORDS)
def test_texts_of_alto(words: str, tmp_path: Path) -> None:
    write(tmp_path, alto([GOOD]).replace('<String CONTENT="some text"></String>', words), scribbled())
    assert read(tmp_path)[0].texts() == [WORDS[words]]


def test_alto_with_words_without_text(tmp_path: Path) -> None:
    words = '<String CONTENT="two"/><SP/><String/><SP/><String CONTENT="words"/>'
    write(tmp_path, alto([GOOD]).replace('<String CONTENT="some text"></String>', words), scribbled())
    _, report = read(tmp_path)
    assert left_out(report) == [("page.xml", "l1", "words without text")]
    assert report.left_out[0].detail == "1 of 3"
    assert [line.text for line in read(tmp_path, texts=False)[0]] == [None]


def test_alto_of_older_versions(tmp_path: Path) -> None:
    """A box, and a baseline that is a height."""
    old = '<TextLine ID="l1" HPOS="40" VPOS="70" WIDTH="320" HEIGHT="40" BASELINE="100"><String CONTENT="old"/></TextLine>'
    xml = alto([]).replace("ns-v4#", "ns-v2#").replace("</TextBlock>", f"{old}</TextBlock>")
    write(tmp_path, xml, scribbled())
    ((line,), _) = read(tmp_path)
    assert line.text == "old"
    assert_same_pixels(line.image(), np.asarray(scribbled())[70:110, 40:361])


def test_page_xml_of_older_versions(tmp_path: Path) -> None:
    corners = "".join(f'<Point x="{x}" y="{y}"/>' for x, y in [(40, 70), (360, 70), (360, 110), (40, 110)])
    xml = page([GOOD]).replace('<Coords points="40,70 360,70 360,110 40,110"/>', f"<Coords>{corners}</Coords>")
    for year, told in (("2010-03-19", xml), ("2013-07-15", page([GOOD]))):
        write(tmp_path / year, told.replace("2019-07-15", year), scribbled())
        ((line,), _) = read(tmp_path / year)
        assert_same_pixels(line.image(), np.asarray(scribbled())[70:110, 40:361])


@pytest.mark.parametrize("unit", ["mm10", "inch1200"])
def test_other_units_than_pixels(unit: str, tmp_path: Path) -> None:
    """A page twice as large in its unit as in pixels."""
    double = replace(GOOD, baseline="80,200 720,200", polygon="80,140 720,140 720,220 80,220")
    xml = alto([double], size=(2 * WIDTH, 2 * HEIGHT)).replace(">pixel<", f">{unit}<")
    write(tmp_path, xml, scribbled())
    ((line,), _) = read(tmp_path)
    assert_same_pixels(line.image(), np.asarray(scribbled())[70:110, 40:361])


def broken(folder: Path) -> None:
    (folder / "page.png").write_bytes((folder / "page.png").read_bytes()[:-3000])


def no_picture(folder: Path) -> None:
    (folder / "page.png").write_text("no picture")


WHOLE: dict[str, tuple[Callable[[Path], object] | None, dict[str, object], str]] = {
    "missing": (lambda folder: (folder / "page.png").unlink(), {}, "no image"),
    "another size": (None, {"size": (HEIGHT, WIDTH)}, "image of another size"),
    "no picture": (no_picture, {}, "broken image"),
    "half a picture": (broken, {}, "broken image"),
    "upward": (None, {"image": "../page.png"}, "image name leads out of the folder"),
    "upward within": (None, {"image": "a/../../page.png"}, "image name leads out of the folder"),
    "upward with backslashes": (None, {"image": "..\\page.png"}, "image name leads out of the folder"),
    "absolute": (None, {"image": "/etc/passwd"}, "image name leads out of the folder"),
    "a drive": (None, {"image": "C:\\page.png"}, "image name leads out of the folder"),
    "a drive with slashes": (None, {"image": "C:/page.png"}, "image name leads out of the folder"),
    "a name with a colon": (None, {"image": "ms:12.png"}, "no image"),
    "an address": (None, {"image": "http://localhost/page.png"}, "image name leads out of the folder"),
    "a very long name": (None, {"image": "a" * 9999}, "no image"),
}


@both
@pytest.mark.parametrize("what", WHOLE)
def test_a_page_is_left_out_line_by_line(what: str, form: str, tmp_path: Path) -> None:
    spoil, options, reason = WHOLE[what]
    write(tmp_path, FORMATS[form]([GOOD, LOWER], **options), scribbled())
    if spoil is not None:
        spoil(tmp_path)
    lines, report = read(tmp_path)
    assert len(lines) == 0
    assert left_out(report) == [("page.xml", "l1", reason), ("page.xml", "l2", reason)]


@pytest.mark.parametrize(
    ("told", "there"), [("PAGE.PNG", "page.png"), ("é.png", "e\u0301.png"), ("E\u0301.png", "é.png")]
)
def test_a_picture_may_be_named_in_another_case_or_normal_form(told: str, there: str, tmp_path: Path) -> None:
    """As it is from other systems, which take these for one name."""
    write(tmp_path / "xml", page([GOOD], image=told), None)
    scribbled().save(tmp_path / there)
    ((line,), _) = read(tmp_path)
    assert line.picture == tmp_path / there


@pytest.mark.parametrize("name", ["ms:12.png", "Fol 1: recto.png", "scans:2/page.png"])
def test_a_colon_may_stand_in_a_name(name: str, tmp_path: Path) -> None:
    write(tmp_path / "xml", page([GOOD], image=name), None)
    for place in (tmp_path / "xml" / name, tmp_path / name):
        place.parent.mkdir(exist_ok=True)
        scribbled().save(place)
        assert [line.picture for line in read(tmp_path)[0]] == [place]
        place.unlink()


def test_of_pictures_told_apart_by_case_the_name_must_be_exact(tmp_path: Path) -> None:
    for name in ("Page.png", "PAGE.png"):
        scribbled().save(tmp_path / name)
    write(tmp_path, page([GOOD], image="page.png"), None)
    assert left_out(read(tmp_path)[1])[0] == ("page.xml", "l1", "no image")
    scribbled().save(tmp_path / "page.png")
    ((line,), _) = read(tmp_path)
    assert line.picture == tmp_path / "page.png"


def test_a_picture_above_the_xml_is_found_within_what_is_read(tmp_path: Path) -> None:
    write(tmp_path / "set" / "xml", page([GOOD], image="../pictures/page.png"), None)
    write(tmp_path / "set" / "pictures", "<x/>", scribbled())
    assert len(read(tmp_path / "set")[0]) == 1
    assert left_out(read(tmp_path / "set" / "xml")[1]) == [("page.xml", "l1", "image name leads out of the folder")]
    # Beside the folder above, where a name that leads upward from there would lead.
    write(tmp_path / "pictures", "<x/>", scribbled())
    (tmp_path / "set" / "pictures" / "page.png").unlink()
    assert left_out(read(tmp_path / "set")[1])[-1] == ("xml/page.xml", "l1", "no image")


@pytest.mark.parametrize("place", ["alto/page.xml", "page.xml", "scans/deep/page.xml"])
def test_where_a_pages_picture_is_found(place: str, tmp_path: Path) -> None:
    """Beside the XML, in the folder above, or elsewhere in what is read."""
    xml = tmp_path / place
    write(xml.parent, alto([GOOD]), None)
    (tmp_path / "pictures").mkdir()
    scribbled().save(tmp_path / ("pictures" if "deep" in place else "") / "page.png")
    assert len(read(tmp_path)[0]) == 1


def test_a_page_that_names_no_picture_has_that_of_its_own_name(tmp_path: Path) -> None:
    write(tmp_path, page([GOOD], image=""), scribbled())
    assert len(read(tmp_path)[0]) == 1


def test_a_page_is_read_once(tmp_path: Path) -> None:
    write(tmp_path / "alto", alto([GOOD]), None)
    write(tmp_path / "page", page([GOOD]), None)
    scribbled().save(tmp_path / "page.png")
    lines, report = read(tmp_path)
    assert [line.file.parent.name for line in lines] == ["alto"]
    assert left_out(report) == [("page/page.xml", "l1", "page read already")]


@pytest.mark.parametrize("kind", ["png", "jpg", "raw tif", "packed tif"])
@pytest.mark.parametrize(
    ("orientation", "back"),
    [
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_a_picture_turned_by_its_camera(orientation: int, back: Image.Transpose, kind: str, tmp_path: Path) -> None:
    """Coordinates of the turned picture, and those of the picture as it is stored; by one cache."""
    told = Image.Exif()
    told[0x0112] = orientation
    seen = scribbled().resize((WIDTH // 10, HEIGHT // 10)).resize((WIDTH, HEIGHT))  # smooth, for JPEG
    stored, name = seen.transpose(back), f"page.{kind[-3:]}"
    packing = {"quality": 100} if kind == "jpg" else {"compression": "tiff_lzw"} if kind == "packed tif" else {}
    stored.save(tmp_path / name, exif=told, **packing)
    pictures = Pictures()
    for place, whole in (("turned", seen), ("stored", stored)):
        row = Row(baseline=None, polygon="40,70 99,70 99,89 40,89")
        path = write(tmp_path / place, page([row], image=name, size=whole.size), None)
        ((line,), _) = read_lines(path, pictures=pictures)
        assert np.abs(line.image().astype(int) - np.asarray(whole)[70:90, 40:100]).max() <= (4 if kind == "jpg" else 0)


def test_lines_that_share_a_cache_have_their_own_pixels(tmp_path: Path) -> None:
    """Of one name on one picture at two places; and of a picture that was replaced."""
    scribbled().save(tmp_path / "page.png")
    box = Row(baseline=None, polygon="40,70 99,70 99,89 40,89")
    pictures, seen = Pictures(), np.asarray(scribbled())
    paths = [write(tmp_path / "a", page([box]), None)]
    paths.append(write(tmp_path / "b", page([replace(box, polygon="40,170 99,170 99,189 40,189")]), None))
    (one,), (other,) = (read_lines(path, pictures=pictures)[0] for path in paths)
    assert_same_pixels(one.image(), seen[70:90, 40:100])
    assert_same_pixels(other.image(), seen[170:190, 40:100])
    scribbled(1).save(tmp_path / "page.png")
    os.utime(tmp_path / "page.png", ns=(1, 1))
    ((again,), _) = read_lines(paths[0], pictures=pictures)
    assert_same_pixels(again.image(), np.asarray(scribbled(1))[70:90, 40:100])
    assert one.image() is one.image()


def test_a_picture_upside_down_is_turned_as_viewers_turn_it(tmp_path: Path) -> None:
    """Its size does not tell which of the two the XML means."""
    orientation = Image.Exif()
    orientation[0x0112] = 3
    write(tmp_path, page([replace(GOOD, baseline=None, polygon="40,70 99,70 99,89 40,89")]), None)
    scribbled().transpose(Image.Transpose.ROTATE_180).save(tmp_path / "page.png", exif=orientation)
    ((line,), _) = read(tmp_path)
    assert_same_pixels(line.image(), np.asarray(scribbled())[70:90, 40:100])


def test_further_pages_of_a_tiff_are_named(tmp_path: Path) -> None:
    """But not a smaller copy of the first."""
    write(tmp_path, page([GOOD, LOWER], image="page.tif"), None)
    more = [scribbled(1), scribbled(2), scribbled(0, (WIDTH // 2, HEIGHT // 2))]
    scribbled().save(tmp_path / "page.tif", save_all=True, append_images=more)
    lines, report = read(tmp_path)
    assert len(lines) == 2
    assert left_out(report) == [("page.tif", "", "further pages of a TIFF")]
    assert report.left_out[0].detail == "2 behind the first"


FOREIGN = {
    "<mets/>": "neither ALTO nor PAGE XML",
    "<alto><Layout>": "broken XML",
    "": "broken XML",
    "<alto><Layout/></alto>": "not one page in the file",
    page([]): "no lines",
    alto([GOOD]).replace("</Layout>", "<Page/></Layout>"): "not one page in the file",
}


@pytest.mark.parametrize("xml", FOREIGN)
def test_a_file_is_left_out_by_name(xml: str, tmp_path: Path) -> None:
    write(tmp_path, xml, scribbled())
    lines, report = read(tmp_path)
    assert len(lines) == 0
    assert left_out(report)[0] == ("page.xml", "", FOREIGN[xml])
