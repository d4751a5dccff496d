"""What was read, put into the file that says where the lines are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from spatial_lstm.files import write_atomically
from spatial_lstm.handwriting.data.alto import WORDS
from spatial_lstm.handwriting.data.layout import layout_of
from spatial_lstm.handwriting.data.markup import Node, parse
from spatial_lstm.handwriting.data.page_xml import transcript
from spatial_lstm.handwriting.data.tags import Document, Edit

BOX = ("HPOS", "VPOS", "WIDTH", "HEIGHT")


@dataclass(frozen=True)
class LineText:
    """What is to be written as a line's text.

    Attributes:
        text: One line of characters.
        confidence: From 0 to 1; None where it is not known.

    Raises:
        ValueError: If the confidence is out of range.
    """

    text: str
    confidence: float | None = None

    def __post_init__(self) -> None:
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise ValueError(f"expected a confidence from 0 to 1, got {self.confidence}")


def check_writable(source: Path | str) -> None:
    """Refuse a file that :func:`write_page` cannot write into, before its lines are read.

    Raises:
        OSError: If it cannot be read.
        ValueError: If its encoding is one in which ASCII does not stand for itself.
    """
    Document(Path(source).read_bytes())


def write_page(
    source: Path | str, readings: Mapping[str, LineText], target: Path | str, *, overwrite: bool = False
) -> None:
    """Write a copy of an ALTO or PAGE XML file with the texts of some lines replaced; every other byte is the original's.

    ALTO gets one String a line, with ``WC`` for the confidence; of words, spaces and a hyphen that stood there the first String's place is
    kept and its box becomes the line's. PAGE gets the line's TextEquiv of index 0 or without an index, with ``conf``; words within
    the line and results with a higher index stay as they are. The file appears whole or not at all.

    Args:
        source: The file that the lines were read from.
        readings: By the id of the line (:attr:`spatial_lstm.handwriting.data.line.Line.id`); lines that are not named keep their text.
        target: Where to write; may be ``source``.
        overwrite: Whether ``target`` may exist.

    Raises:
        FileExistsError: If it does and may not.
        ValueError: If the source is neither ALTO nor PAGE XML or cannot be written into, has no such line, or XML cannot hold a text.
    """
    source, target = Path(source), Path(target)
    if target.exists() and not overwrite:
        raise FileExistsError(f"expected a new file to write, got {target}, which exists")
    document = Document(source.read_bytes())
    layout = layout_of(parse(document.data))
    if unknown := sorted(readings.keys() - {line.id for line in layout.lines}):
        raise ValueError(f"expected ids of lines in {source}, got {unknown[0]!r}")
    write = WRITERS[layout.format]
    edits = [
        edit for line in layout.lines if line.id in readings for edit in write(document, line.node, readings[line.id])
    ]
    changed = document.edited(edits)
    _check(changed, readings, source)
    write_atomically(target, lambda file: file.write(changed))


def _check(changed: bytes, readings: Mapping[str, LineText], source: Path) -> None:
    """Read what is about to be written."""
    found = {line.id: line.text for line in layout_of(parse(changed)).lines}
    for id, reading in readings.items():
        if found.get(id) != reading.text:
            raise ValueError(f"expected to write {reading.text!r} into line {id} of {source}, got {found.get(id)!r}")


def _write_alto(document: Document, line: Node, reading: LineText) -> Iterator[Edit]:
    words = line.all(*WORDS)
    strings = line.all("String")
    stale = dict.fromkeys(("CC", "SUBS_TYPE", "SUBS_CONTENT"))
    values = {"CONTENT": reading.text, "WC": _number(reading), **stale}
    box = {name: line.attributes[name] for name in BOX if name in line.attributes}
    if not strings:
        shape = line.child("Shape")
        new = f"<{document.prefix(line)}String/>".encode()
        content = document.with_attributes(new, {"CONTENT": reading.text, **box, "WC": _number(reading)})
        yield from (Edit(word.start, word.end, b"") for word in words)
        yield from _insert(document, line, shape, content)
        return
    first = strings[0]
    tag = document.start_tag(first)
    if len(words) == 1 and not first.children:
        yield Edit(first.start, first.start + len(tag), document.with_attributes(tag, values))
        return
    whole = document.with_attributes(tag, values | (box if len(words) > 1 else {}))
    alone = whole.removesuffix(b">").removesuffix(b"/").rstrip() + b"/>"
    yield Edit(words[0].start, words[-1].end, alone)


def _write_page_xml(document: Document, line: Node, reading: LineText) -> Iterator[Edit]:
    prefix = document.prefix(line)
    unicode = (
        document.encode(f"<{prefix}Unicode>") + document.text(reading.text) + document.encode(f"</{prefix}Unicode>")
    )
    old = transcript(line)
    if old is None or not old.children:
        tag = document.start_tag(old) if old else f"<{prefix}TextEquiv>".encode()
        index = {"index": "0"} if old is None and line.all("TextEquiv") else {}
        tag = document.with_attributes(_opened(tag), index | {"conf": _number(reading)})
        content = tag + unicode + document.encode(f"</{prefix}TextEquiv>")
        if old:
            yield Edit(old.start, old.end, content)
        else:
            before = line.all("AlternativeImage", "Coords", "Baseline", "Word")
            yield from _insert(document, line, before[-1] if before else None, content)
        return
    tag = document.start_tag(old)
    yield Edit(old.start, old.start + len(tag), document.with_attributes(tag, {"conf": _number(reading)}))
    written = old.child("Unicode")
    place = written or old.children[0]
    yield Edit(place.start, place.end if written else place.start, unicode)
    yield from (Edit(plain.start, plain.end, b"") for plain in old.all("PlainText"))


def _insert(document: Document, line: Node, after: Node | None, content: bytes) -> Iterator[Edit]:
    """A new element within a line, on a line of its own if its neighbor is."""
    if after is not None:
        yield Edit(after.end, after.end, document.before(after) + content)
        return
    tag = document.start_tag(line)
    begin = line.start + len(tag)
    if line.inner_end is not None:
        yield Edit(begin, begin, content)
        return
    name = tag[1:].split(None, 1)[0].rstrip(b"/>")
    yield Edit(line.start, begin, _opened(tag) + content + b"</" + name + b">")


def _opened(tag: bytes) -> bytes:
    """A tag as one that begins an element."""
    return tag.removesuffix(b"/>").rstrip() + b">" if tag.endswith(b"/>") else tag


def _number(reading: LineText) -> str | None:
    return None if reading.confidence is None else f"{reading.confidence:.4f}"


WRITERS: dict[str, Callable[[Document, Node, LineText], Iterator[Edit]]] = {
    "alto": _write_alto,
    "PcGts": _write_page_xml,
}
