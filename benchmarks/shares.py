"""How near a figure is to what the machine can do: its share of the peak, what the floor is made of, and what could not be measured."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import wavefronts
from benchmarks.harness import Row, markdown_table, number, ratio, spread
from benchmarks.peak import FMA, PRODUCT

PEAKS = (FMA, PRODUCT)


def share(row: Row, name: str) -> str:
    """``79 %``: the time that the layer's FLOPs take at the peak over a contestant's; empty where no peak was measured."""
    contestants = row["contestants"]
    peaks = [contestants[peak]["seconds"] for peak in PEAKS if peak in contestants]
    return f"{ratio(peaks[0], contestants[name]['seconds']).median:.0%}".replace("%", " %") if peaks else ""


def with_share(text: str, row: Row, name: str) -> str:
    """``1.08, 79 %``: a figure, and its contestant's share."""
    return ", ".join(filter(None, [text, share(row, name)]))


def floor_made_of(row: Row) -> str:
    """``OpenBLAS, MKL``: the libraries that took least time at some product of the floor."""
    return ", ".join(dict.fromkeys(row["contestants"]["floor"].get("notes", {}).get("won", [])))


def libraries_table(rows: Sequence[Row]) -> str:
    """Markdown: what every library reaches at the floor's products, and the peak, in GFLOP/s; empty where none was measured."""
    rows = [row for row in rows if "notes" in row["contestants"]["floor"]]
    if not rows:
        return ""
    notes = [row["contestants"]["floor"]["notes"] for row in rows]
    names = list(notes[0]["gflops"])
    peak = next(name for name in PEAKS if name in rows[0]["contestants"])
    lines = []
    for row, note in zip(rows, notes, strict=True):
        reached = [number(note["gflops"][name]) for name in names]
        highest = number(row["floor_flops"] / spread(row["contestants"][peak]["seconds"]).median / 1e9)
        lines.append(
            [row["size"]["label"], row["mode"], str(row["threads"]), *reached, highest, ", ".join(note["won"])]
        )
    head = ["N x HxW, C to h", "", "threads", *names, peak, "the floor's products"]
    return markdown_table(head, lines, left=2)


def missing_here(contestants: Row, *, quick: bool) -> list[str]:
    """What a row's contestants lack and why: libraries of products, and wavefronts."""
    return [*contestants["floor"]["notes"]["missing"], *wavefronts.missing(quick=quick)]


def missing_line(rows: Sequence[Row]) -> str:
    """Markdown: what was not measured; empty where nothing is missing."""
    reasons = dict.fromkeys(reason for row in rows for reason in row.get("missing", []))
    return f"Not measured: {'; '.join(reasons)}." if reasons else ""
