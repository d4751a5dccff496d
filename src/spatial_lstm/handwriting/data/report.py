"""What was read, and what was left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field


class Refusal(ValueError):
    """A line, page or file that cannot be used.

    Args:
        reason: A few words that many lines can share, such as "empty text".
        detail: What came in this case.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class LeftOut:
    """One line that is not among those read, or one whole file.

    Attributes:
        file: Named from the folder that was read.
        line: Its id; empty where no line of the file was looked at.
        reason: In a few words that many lines can share.
        detail: What came in this case; may be empty.
    """

    file: str
    line: str
    reason: str
    detail: str = ""


@dataclass
class Report:
    """Table of what was kept and left out.

    Attributes:
        kept: Lines kept of each file that has any.
        left_out: Everything else, in the order of reading.
    """

    kept: Counter[str] = field(default_factory=Counter)
    left_out: list[LeftOut] = field(default_factory=list)

    def refuse(self, file: str, line: str, refusal: Refusal) -> None:
        """Note that a line, or with an empty id a file, is left out."""
        self.left_out.append(LeftOut(file, line, refusal.reason, refusal.detail))

    def reasons(self) -> Counter[str]:
        """How often each reason was met."""
        return Counter(entry.reason for entry in self.left_out)

    def summary(self) -> str:
        """Say in one line how many lines were kept, how many were left out, and why."""
        kept = f"{self.kept.total()} lines of {len(self.kept)} files"
        if not self.left_out:
            return f"{kept}; nothing left out"
        reasons = ", ".join(f"{reason} ({count})" for reason, count in self.reasons().most_common())
        return f"{kept}; left out: {reasons}"

    def markdown(self, limit: int | None = None) -> str:
        """Two tables: the reasons with their counts, and what was left out, at most ``limit`` entries."""
        return "\n".join(self._rows(limit)) + "\n"

    def to_dict(self) -> dict[str, object]:
        """Return the same in plain values, for a JSON file."""
        return {
            "kept": dict(self.kept),
            "reasons": dict(self.reasons()),
            "left_out": [vars(entry).copy() for entry in self.left_out],
        }

    def _rows(self, limit: int | None) -> Iterator[str]:
        yield from ("| lines | |", "| ---: | --- |", f"| {self.kept.total()} | kept, of {len(self.kept)} files |")
        yield from (f"| {count} | left out: {_cell(reason)} |" for reason, count in self.reasons().most_common())
        if self.left_out:
            yield from ("", "| file | line | left out because | what came |", "| --- | --- | --- | --- |")
        for entry in self.left_out[:limit]:
            yield f"| {' | '.join(map(_cell, (entry.file, entry.line or '-', entry.reason, entry.detail)))} |"
        more = len(self.left_out[:]) - len(self.left_out[:limit])
        if more:
            yield f"| and {more} more | | | |"


def _cell(text: str) -> str:
    """Text as it may stand in a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")
