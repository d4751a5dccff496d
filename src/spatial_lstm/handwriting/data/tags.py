"""Changes of an XML file's bytes, in one place and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from spatial_lstm.handwriting.data.markup import Node

_VALUE = rb"\"[^\"]*\"|'[^']*'"
_ATTRIBUTE = re.compile(rb"(\s+)([^\s=/>]+)(\s*=\s*)(" + _VALUE + rb")")
_START_TAG = re.compile(rb"<[^\s/>]+(?:\s+[^\s=/>]+\s*=\s*(?:" + _VALUE + rb"))*\s*/?>")
_DECLARED = re.compile(rb"<\?xml[^>]*?\sencoding\s*=\s*[\"']([A-Za-z0-9._-]+)")
# What XML 1.0 has no way to write.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Edit:
    """The bytes from ``start`` to before ``end`` are to become others."""

    start: int
    end: int
    content: bytes


class Document:
    """The bytes of a document and how to write into them.

    Raises:
        ValueError: If its encoding is none in which ASCII stands for itself.
    """

    def __init__(self, data: bytes) -> None:
        if data.startswith((b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")):
            raise ValueError("expected XML in UTF-8 or another encoding that contains ASCII to write into, got UTF-16")
        declared = _DECLARED.match(data.removeprefix(b"\xef\xbb\xbf"))
        self.data = data
        self._unicode = declared is None or declared[1].lower() in (b"utf-8", b"utf8")

    def encode(self, text: str) -> bytes:
        """Characters as bytes; as numbers where the encoding may not have them."""
        return text.encode() if self._unicode else text.encode("ascii", "xmlcharrefreplace")

    def text(self, text: str) -> bytes:
        """Text as it stands in an element.

        Raises:
            ValueError: If it has a character that XML cannot hold.
        """
        return self.encode(escape(_checked(text), {"\r": "&#13;"}))

    def start_tag(self, node: Node) -> bytes:
        """The bytes of an element's start tag, or of its only tag."""
        found = _START_TAG.match(self.data, node.start)
        if found is None:
            raise ValueError(f"expected a start tag of {node.name} at byte {node.start}, got something else")
        return found[0]

    def with_attributes(self, tag: bytes, values: Mapping[str, str | None]) -> bytes:
        """A start tag with some attributes changed, added behind the others or, where the value is None, taken out.

        Raises:
            ValueError: If a value has a character that XML cannot hold.
        """
        quoted = {
            name: None if value is None else self.encode(quoteattr(_checked(value))) for name, value in values.items()
        }
        found = {match[2].decode() for match in _ATTRIBUTE.finditer(tag)}

        def change(match: re.Match[bytes]) -> bytes:
            name = match[2].decode()
            value = quoted.get(name, match[4])
            return b"" if value is None else match[1] + match[2] + match[3] + value

        new = b"".join(
            b" " + name.encode() + b"=" + value for name, value in quoted.items() if value and name not in found
        )
        changed = _ATTRIBUTE.sub(change, tag)
        end = re.search(rb"\s*/?>$", changed)
        at = end.start() if end else len(changed)
        return changed[:at] + new + changed[at:]

    def before(self, node: Node) -> bytes:
        """The line break and the space in front of an element, to put another on a line of its own."""
        found = re.search(rb"\r?\n[ \t]*$", self.data[: node.start])
        return found[0] if found else b""

    def prefix(self, node: Node) -> str:
        """The prefix of an element's name, with its colon; empty where it has none."""
        name = self.start_tag(node)[1:].split(None, 1)[0].rstrip(b"/>").decode()
        return f"{name.rpartition(':')[0]}:" if ":" in name else ""

    def edited(self, edits: Iterable[Edit]) -> bytes:
        """The bytes with all changes made."""
        parts, at = [], 0
        for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
            parts += [self.data[at : edit.start], edit.content]
            at = edit.end
        return b"".join([*parts, self.data[at:]])


def _checked(text: str) -> str:
    if illegal := _ILLEGAL.search(text):
        raise ValueError(f"expected characters that XML can hold, got U+{ord(illegal[0]):04X}")
    return text
