"""XML is read safely, and written back with nothing changed but the texts."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from spatial_lstm.handwriting.data import LineText, Refusal, check_writable, read_lines, write_page
from spatial_lstm.handwriting.data.markup import parse
from tests.handwriting import FORMATS, PAGE, Row, alto, page, scribbled, write

LAUGHS = '<!DOCTYPE alto [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'
HOSTILE = {
    "laughs in text": f"{LAUGHS}<alto>&c;</alto>",
    "laughs in an attribute": f'{LAUGHS}<alto x="&c;"/>',
    "a file's content": '<!DOCTYPE alto [<!ENTITY f SYSTEM "file:///etc/passwd">]><alto>&f;</alto>',
    "an address": '<!DOCTYPE alto SYSTEM "http://localhost/alto.dtd"><alto/>',
    "parameter entities": '<!DOCTYPE alto [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]><alto/>',
    "a harmless DTD": "<!DOCTYPE alto><alto/>",
    "in UTF-16": LAUGHS + "<alto>&c;</alto>",
}
BROKEN = [
    b"",
    b"<a>",
    b"<a></b>",
    b"<a>&b;</a>",
    b"<a/><b/>",
    b"\x00",
    b"<a>\xff</a>",
    b'<?xml version="1.0" encoding="x"?><a/>',
]


@pytest.mark.parametrize("what", HOSTILE)
def test_dtds_and_entities_are_refused(what: str, tmp_path: Path) -> None:
    data = HOSTILE[what].encode("utf-16" if what == "in UTF-16" else "utf-8")
    with pytest.raises(Refusal) as refused:
        parse(data)
    assert refused.value.reason == "XML with a DTD or entities"
    (tmp_path / "page.xml").write_bytes(data)
    lines, report = read_lines(tmp_path)
    assert len(lines) == 0
    assert [(entry.file, entry.reason) for entry in report.left_out] == [("page.xml", "XML with a DTD or entities")]


@pytest.mark.parametrize("data", BROKEN)
def test_broken_xml_is_refused(data: bytes) -> None:
    with pytest.raises(Refusal, match="broken XML"):
        parse(data)


def test_deep_nesting_is_no_danger() -> None:
    root = parse(b"<a>" * 20_000 + b"</a>" * 20_000)
    assert sum(1 for _ in root.walk()) == 20_000


SOURCE = b"""<?xml version='1.0'?><!-- < --><n:a xmlns:n="u" x='1>2'>t\xc3\xa9<b/>/&gt;<c ></c
><d y="/">/></d><e><![CDATA[<f/>]]></e><?g h?></n:a >"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "iso-8859-1"])
def test_elements_are_known_to_the_byte(encoding: str) -> None:
    data = SOURCE.decode().replace("'1.0'", f"'1.0' encoding='{encoding.removesuffix('-sig')}'").encode(encoding)
    root = parse(data)
    names = {node.name: data[node.start : node.end].decode(encoding.removesuffix("-sig")) for node in root.walk()}
    assert names["a"].startswith("<n:a xmlns")
    assert names["a"].endswith("</n:a >")
    assert names["b"] == "<b/>"
    assert names["c"] == "<c ></c\n>"
    assert names["d"] == '<d y="/">/></d>'
    assert names["e"] == "<e><![CDATA[<f/>]]></e>"
    assert root.text == "té/>"
    assert root.attributes == {"x": "1>2"}


ROWS = [Row(), Row("l2", "another <&>", "40,200 360,220", "40,170 360,190 360,230 40,210"), Row("l3", None)]
NEW = {"l1": LineText("“neu” & <gut> 'é' \"", 0.98765), "l3": LineText("was not there")}


@pytest.mark.parametrize("form", FORMATS)
def test_what_was_read_is_written_and_nothing_else(form: str, tmp_path: Path) -> None:
    source = write(tmp_path, FORMATS[form](ROWS), scribbled())
    before = source.read_text()
    target = tmp_path / "new" / "read.xml"
    check_writable(str(source))
    write_page(str(source), NEW, str(target))
    assert source.read_text() == before
    changed = [line for line in difflib.ndiff(before.splitlines(), target.read_text().splitlines()) if line[0] in "+-"]
    assert sum(line[0] == "-" for line in changed) == 1
    assert sum(line[0] == "+" for line in changed) == 2
    scribbled().save(target.parent / "page.png")
    lines, _ = read_lines(target)
    assert lines.texts() == [NEW["l1"].text, "another <&>", NEW["l3"].text]


def test_page_xml_as_another_parser_reads_it(tmp_path: Path) -> None:
    write_page(write(tmp_path, page(ROWS), None), NEW, tmp_path / "read.xml")
    name = f"{{{PAGE}}}"
    lines = list(ElementTree.parse(tmp_path / "read.xml").iter(f"{name}TextLine"))
    found = [(equiv.get("conf"), equiv[0].text) for line in lines for equiv in line.findall(f"{name}TextEquiv")]
    assert found == [("0.9877", NEW["l1"].text), (None, "another <&>"), (None, NEW["l3"].text)]
    assert [child.tag for child in lines[2]] == [f"{name}{tag}" for tag in ("Coords", "Baseline", "TextEquiv")]


CASES: dict[str, tuple[str, str, str, str]] = {
    "confidence replaced": (
        "page",
        '<TextEquiv conf="0.1" dataType="other"><Unicode>a</Unicode></TextEquiv>',
        '<TextEquiv conf="0.5000" dataType="other"><Unicode>new</Unicode></TextEquiv>',
        "0.5",
    ),
    "confidence not known": (
        "page",
        "<TextEquiv conf='0.1'><Unicode>a</Unicode></TextEquiv>",
        "<TextEquiv><Unicode>new</Unicode></TextEquiv>",
        "",
    ),
    "plain text too": (
        "page",
        "<TextEquiv><PlainText>a</PlainText><Unicode>a</Unicode></TextEquiv>",
        '<TextEquiv conf="0.5000"><Unicode>new</Unicode></TextEquiv>',
        "0.5",
    ),
    "old results stay": (
        "page",
        '<TextEquiv index="1"><Unicode>a</Unicode></TextEquiv>',
        '<TextEquiv index="0"><Unicode>new</Unicode></TextEquiv>\n        <TextEquiv index="1"><Unicode>a</Unicode></TextEquiv>',
        "",
    ),
    "empty elements": ("page", "<TextEquiv/>", "<TextEquiv><Unicode>new</Unicode></TextEquiv>", ""),
    "empty text": ("page", "<TextEquiv><Unicode/></TextEquiv>", "<TextEquiv><Unicode>new</Unicode></TextEquiv>", ""),
    "attributes of a word": (
        "alto",
        '<String ID="s" WC="0.1"\n  CONTENT=\'a\' HPOS="3"/>',
        '<String ID="s" WC="0.5000"\n  CONTENT="new" HPOS="3"/>',
        "0.5",
    ),
    "several words": (
        "alto",
        '<String ID="s" CONTENT="a" CC="1"/> <SP/> <String CONTENT="b"/><HYP CONTENT="-"/>',
        '<String ID="s" CONTENT="new" WC="0.5000"/>',
        "0.5",
    ),
    "alternatives": (
        "alto",
        '<String CONTENT="a" WC="1"><ALTERNATIVE>b</ALTERNATIVE></String>',
        '<String CONTENT="new"/>',
        "",
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_what_stood_there_gives_way(what: str, tmp_path: Path) -> None:
    form, old, new, confidence = CASES[what]
    marker = '<String CONTENT="x"></String>' if form == "alto" else "<TextEquiv><Unicode>x</Unicode></TextEquiv>"
    xml = FORMATS[form]([replace(ROWS[0], text="x")])
    source = write(tmp_path, xml.replace(marker, old), None)
    write_page(source, {"l1": LineText("new", float(confidence) if confidence else None)}, tmp_path / "read.xml")
    assert (tmp_path / "read.xml").read_text().split() == xml.replace(marker, new).split()


def test_words_become_one_string_with_the_lines_box(tmp_path: Path) -> None:
    line = '<TextLine ID="l1" HPOS="1" VPOS="2" WIDTH="3" HEIGHT="4"'
    words = '<String CONTENT="a" HPOS="1" VPOS="2" WIDTH="1" HEIGHT="4"/><SP/><String CONTENT="b" HPOS="2"/>'
    xml = alto(ROWS[:1]).replace('<TextLine ID="l1"', line).replace('<String CONTENT="some text"></String>', words)
    write_page(write(tmp_path, xml, None), {"l1": LineText("a b")}, tmp_path / "read.xml")
    assert (
        xml.replace(words, '<String CONTENT="a b" HPOS="1" VPOS="2" WIDTH="3" HEIGHT="4"/>')
        == (tmp_path / "read.xml").read_text()
    )


def test_prefixes_and_encodings_are_kept(tmp_path: Path) -> None:
    xml = page([Row(text=None), Row("l2", None, None, None)]).replace(f'xmlns="{PAGE}"', f'xmlns:pc="{PAGE}"')
    for name in ("PcGts", "Page", "TextRegion", "TextLine", "Coords", "Baseline"):
        xml = xml.replace(f"<{name}", f"<pc:{name}").replace(f"</{name}", f"</pc:{name}")
    xml = xml.replace("UTF-8", "ISO-8859-1").replace("<pc:Page", "<!-- é --><pc:Page")
    source = tmp_path / "page.xml"
    source.write_bytes(xml.encode("iso-8859-1"))
    write_page(source, {"l1": LineText("é→"), "l2": LineText("x")}, source, overwrite=True)
    root = ElementTree.parse(source).getroot()
    assert [unicode.text for unicode in root.iter(f"{{{PAGE}}}Unicode")] == ["é→", "x"]
    assert "<!-- é -->".encode("iso-8859-1") in source.read_bytes()


@pytest.mark.parametrize("existing", ["source", "another"])
def test_no_file_is_overwritten_unasked(existing: str, tmp_path: Path) -> None:
    source = write(tmp_path, page(ROWS), None)
    target = source if existing == "source" else tmp_path / "another.xml"
    if existing == "another":
        target.write_text("another")
    before = target.read_bytes()
    with pytest.raises(FileExistsError, match="expected a new file"):
        write_page(source, NEW, target)
    assert target.read_bytes() == before
    write_page(source, NEW, target, overwrite=True)
    assert target.read_bytes() != before


@pytest.mark.parametrize(
    ("readings", "message"),
    [
        ({"l9": LineText("x")}, "expected ids of lines in .*, got 'l9'"),
        ({"l1": LineText("a\x01b")}, "expected characters that XML can hold, got U\\+0001"),
    ],
    ids=["no such line", "no such character"],
)
def test_what_cannot_be_written_is_told(readings: dict[str, LineText], message: str, tmp_path: Path) -> None:
    for form in FORMATS.values():
        source = write(tmp_path, form(ROWS), None)
        with pytest.raises(ValueError, match=message):
            write_page(source, readings, tmp_path / "read.xml")
    assert [path.name for path in tmp_path.iterdir()] == ["page.xml"]


def test_a_confidence_is_a_fraction() -> None:
    with pytest.raises(ValueError, match="expected a confidence from 0 to 1, got 98"):
        LineText("x", 98)


def test_utf_16_is_read_and_not_written(tmp_path: Path) -> None:
    source = write(tmp_path, "", scribbled())
    source.write_bytes(alto(ROWS).replace("UTF-8", "UTF-16").encode("utf-16"))
    assert read_lines(tmp_path)[0].texts() == ["some text", "another <&>"]
    with pytest.raises(ValueError, match="got UTF-16"):
        write_page(source, NEW, tmp_path / "read.xml")
