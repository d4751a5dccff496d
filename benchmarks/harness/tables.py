"""Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.harness.results import Row


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A table whose first ``left`` columns are words and the others figures."""
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))


def table_by_mode(
    corner: str, rows: Sequence[Row], cell: Callable[[Row], str], mean: Callable[[Sequence[Row]], str] | None = None
) -> str:
    """A line for each size, a column for each mode and number of threads; with ``mean`` a last line of what it makes of each column."""
    columns: dict[tuple[str, int], list[Row]] = {}
    lines: dict[str, list[str]] = {}
    for row in rows:
        label = row["size"]["label"]
        lines.setdefault(label, [label]).append(cell(row))
        columns.setdefault((row["mode"], row["threads"]), []).append(row)
    means = [["geometric mean", *map(mean, columns.values())]] if mean is not None else []
    head = [f"{mode}, {threads} thread{'' if threads == 1 else 's'}" for mode, threads in columns]
    return markdown_table([corner, *head], [*lines.values(), *means])


def number(value: float) -> str:
    """Three significant digits without an exponent, for any size a table may show."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3g}"


def replace_section(text: str, name: str, body: str) -> str:
    """Put ``body`` between ``<!-- name:begin -->`` and ``<!-- name:end -->``.

    Raises:
        ValueError: If the text does not have each marker once, in this order.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(
            f"expected {begin} and {end} once each, in this order, got {text.count(begin)}, {text.count(end)}"
        )
    head, rest = text.split(begin)
    return f"{head}{begin}\n{body}\n{end}{rest.split(end)[1]}"
