"""A page's lines as a file of ALTO or PAGE XML tells them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from spatial_lstm.handwriting.data import alto, page_xml
from spatial_lstm.handwriting.data.markup import Node, parse
from spatial_lstm.handwriting.data.outline import Outline
from spatial_lstm.handwriting.data.report import Refusal

Found = TypeVar("Found")


@dataclass(frozen=True)
class Format:
    """How a format tells what a page has; the functions take the root, the page or a line and may raise :class:`Refusal`.

    Attributes:
        name: As people call it.
        image: Name of the page's picture, empty where there is none.
        size: Width and height of the page in its unit, None where it is not told.
        unit: The unit's name.
        line_id: The attribute that holds a line's id.
        text: What is written in a line; None where the file does not say.
        outline: Where a line lies.
    """

    name: str
    image: Callable[[Node], str]
    size: Callable[[Node], tuple[float, float] | None]
    unit: Callable[[Node], str]
    line_id: str
    text: Callable[[Node], str | None]
    outline: Callable[[Node], Outline]


# By the name of the root element, whatever its namespace and with it the version.
FORMATS = {
    "alto": Format("ALTO", alto.image, alto.size, alto.unit, "ID", alto.text, alto.outline),
    "PcGts": Format("PAGE", page_xml.image, page_xml.size, page_xml.unit, "id", page_xml.text, page_xml.outline),
}


@dataclass(frozen=True, eq=False)
class TextLine:
    """One line.

    Attributes:
        id: Its id, or ``#`` and its place among the file's lines from 1 where it has none of its own.
        node: Its element.
        text: What is written in it, None where the file does not say, or why that is not to be used.
        outline: Where it lies, or why that is not to be used.
    """

    id: str
    node: Node
    text: str | Refusal | None
    outline: Outline | Refusal


@dataclass(frozen=True, eq=False)
class Layout:
    """One page.

    Attributes:
        format: An entry of :data:`FORMATS`.
        image: Name of its picture, empty where there is none.
        size: Width and height, in its unit, None where they are not told.
        unit: ``"pixel"`` or another.
        lines: In the order of the file.
    """

    format: str
    image: str
    size: tuple[float, float] | None
    unit: str
    lines: list[TextLine]


def read_layout(path: Path) -> Layout:
    """Read a file of ALTO or PAGE XML, of any version.

    Raises:
        Refusal: If it is neither, or cannot be read, or has not one page.
    """
    try:
        return layout_of(parse(path.read_bytes()))
    except OSError as error:
        raise Refusal("file cannot be read", error.strerror or str(error)) from error


def layout_of(root: Node) -> Layout:
    """What a document says.

    Raises:
        Refusal: If it is neither ALTO nor PAGE XML, or has not one page.
    """
    form = FORMATS.get(root.name)
    if form is None:
        raise Refusal("neither ALTO nor PAGE XML", f"root element {root.name}")
    nodes = list(root.walk())
    pages = [node for node in nodes if node.name == "Page"]
    if len(pages) != 1:
        raise Refusal("not one page in the file", f"{len(pages)} pages")
    found = [node for node in nodes if node.name == "TextLine"]
    lines = [
        TextLine(id, node, _or_refusal(form.text, node), _or_refusal(form.outline, node))
        for id, node in zip(_ids(found, form.line_id), found, strict=True)
    ]
    return Layout(root.name, form.image(root), form.size(pages[0]), form.unit(root), lines)


def _ids(lines: list[Node], attribute: str) -> list[str]:
    """Each line's own id where that is one, or else its number."""
    own = [line.attributes.get(attribute, "").strip() for line in lines]
    numbers = [f"#{number}" for number in range(1, len(lines) + 1)]
    count = Counter([*own, *numbers])
    return [id if id and count[id] == 1 else number for id, number in zip(own, numbers, strict=True)]


def _or_refusal(read: Callable[[Node], Found], node: Node) -> Found | Refusal:
    try:
        return read(node)
    except Refusal as refusal:
        return refusal
