"""XML read safely and remembered to the byte, so that it can be changed in one place and nowhere else."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import ParseError

from spatial_lstm.handwriting.data.report import Refusal

# Layouts take kilobytes to a few megabytes.
LARGEST_FILE = 256 * 2**20


@dataclass(eq=False)
class Node:
    """One element.

    Attributes:
        name: Without its namespace.
        attributes: By name.
        start: Its first byte in the file.
        text: The characters that stand in it directly, entities resolved.
        children: The elements that stand in it directly.
        inner_end: Where its end tag begins; None where it has none, as in ``<a/>``.
        end: The byte after its last.
    """

    name: str
    attributes: dict[str, str]
    start: int
    text: str = ""
    children: list[Node] = field(default_factory=list, repr=False)
    inner_end: int | None = None
    end: int = -1

    def all(self, *names: str) -> list[Node]:
        """The children of these names, in order."""
        return [child for child in self.children if child.name in names]

    def child(self, name: str) -> Node | None:
        """The first child of a name."""
        return next(iter(self.all(name)), None)

    def walk(self) -> Iterator[Node]:
        """This element and all within it, in the order of the file."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))


def parse(data: bytes) -> Node:
    """The root of a document; nothing outside of it is ever opened.

    Raises:
        Refusal: If it is not well formed or huge, or has a DTD, and with it perhaps entities.
        ModuleNotFoundError: If defusedxml is missing.
    """
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import DefusedXMLParser

    if len(data) > LARGEST_FILE:
        raise Refusal("huge XML", f"{len(data)} bytes")
    encoding = None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data, encoding = data.decode("utf-16", "replace").encode(), "utf-8"
    builder = _Builder(data)
    try:
        parser = DefusedXMLParser(target=builder, encoding=encoding, forbid_dtd=True)
        builder.position = lambda: int(parser.parser.CurrentByteIndex)
        parser.feed(data)
        root: Node = parser.close()
    except DefusedXmlException as error:
        raise Refusal("XML with a DTD or entities", type(error).__name__) from error
    except (ParseError, ValueError, LookupError) as error:
        raise Refusal("broken XML", str(error)) from error
    return root


class _Builder:
    """Makes nodes of what the parser tells; ``position`` is the byte at which the parser is."""

    def __init__(self, data: bytes) -> None:
        self.position: Callable[[], int] = lambda: 0
        self._data = data
        self._open: list[Node] = []
        self._last: Node | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        node = Node(tag.rpartition("}")[2], attributes, self.position())
        if self._open:
            self._open[-1].children.append(node)
        self._open.append(node)

    def data(self, text: str) -> None:
        self._open[-1].text += text

    def end(self, tag: str) -> None:
        """An empty tag's end is told when the parser is past it, any other when it is before the end tag."""
        node, at = self._open.pop(), self.position()
        if node.children or node.text or self._data[at - 2 : at] != b"/>":
            node.inner_end = at
            node.end = self._data.index(b">", at) + 1
        else:
            node.end = at
        self._last = node

    def close(self) -> Node | None:
        return self._last
