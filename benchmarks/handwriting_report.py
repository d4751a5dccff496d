"""Figures of reading handwriting as Markdown and as a plot."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.handwriting_kraken import BATCH
from benchmarks.harness import Row, markdown_table, read_results
from spatial_lstm.files import write_atomically

# By set of lines: the published character error rate, and how it came about.
DEFAULT, REGULARIZED = "default", "with dropout and warps"
PUBLISHED = {"peraire": (0.0462, "kraken 4.3.7, fine-tuned from a large French model")}
HEAD = (
    *("model", "lines", "CPU minutes", "CER", "95 %", "WER", "CER, beam search", "CER with the texts' language"),
    *("parameters", "epochs", "seeds"),
)


def write_report(path: Path) -> Path:
    """Write ``handwriting_<folder>.md``, and a plot where there are several budgets, beside the figures; return the report's path."""
    rows: list[Row] = read_results(path)["rows"]
    plot(path.with_suffix(".png"), rows, _data(path))
    text, written = report(path), path.with_suffix(".md")
    write_atomically(written, lambda file: file.write(text.encode()))
    return written


def report(path: Path) -> str:
    """What ``handwriting_<folder>.json`` has, as Markdown."""
    results = read_results(path)
    machine, data = results["machine"], _data(path)
    parts = [
        f"# Reading handwriting: {data}",
        f"From scratch on one core, CPU time; {machine['cpu']}, torch {machine['torch']}. Errors are of the test lines; of several\n"
        "seeds the mean, and in brackets the least and the largest. The interval is the first seed's, by bootstrap over pages.",
        "What stands in the place of the two-dimensional layer has as many parameters.",
        table(results["rows"], data),
    ]
    if specs := dict.fromkeys(f"`{row['spec']}`" for row in results["rows"] if "spec" in row):
        parts.append(f"kraken's network, trained in batches of {BATCH}: {', '.join(specs)}.")
    if path.with_suffix(".png").exists():
        parts.append(f"![Error rate against time]({path.stem}.png)")
    return "\n\n".join(parts) + "\n"


def _data(path: Path) -> str:
    return path.stem.removeprefix("handwriting_")


def section(path: Path) -> str:
    """The table alone, without what few ask for."""
    return table(read_results(path)["rows"], _data(path), HEAD.index("parameters"))


def evidence(path: Path) -> str:
    """The longest training of the default network, however it was regularized, as a row of the README's table."""
    rows: list[Row] = read_results(path)["rows"]
    best = max((row for row in rows if row["model"] in (DEFAULT, REGULARIZED)), key=lambda row: row["minutes"])
    data = _data(path)
    what = f"`{data}`, {best['lines']:,} handwritten lines, {best['minutes']:g} CPU minutes"
    return f"| {what} | {best['cer']:.1%} character errors | {PUBLISHED[data][0]:.1%}, fine-tuned |"


def table(rows: Sequence[Row], data: str, columns: int = len(HEAD)) -> str:
    """A row for each model and budget, its first ``columns``."""
    lines = [_line(own) for own in _together(rows)]
    if data in PUBLISHED:
        cer, how = PUBLISHED[data]
        lines.append([f"published: {how}", *[""] * 2, f"{cer:.2%}", *[""] * (len(HEAD) - 4)])
    return markdown_table(HEAD[:columns], [line[:columns] for line in lines])


def plot(path: Path, rows: Sequence[Row], data: str) -> None:
    """Error rates against CPU minutes, where there is more than one budget."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    if len({row.get("minutes") for row in rows} - {None}) < 2:
        return
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for name in dict.fromkeys(row["model"] for row in rows):
        own = [together for together in _together(rows) if together[0]["model"] == name]
        minutes = [statistics.fmean(row["cpu_minutes"] for row in together) for together in own]
        errors = [100 * statistics.fmean(row["cer"] for row in together) for together in own]
        axes.plot(minutes, errors, marker="o", label=name)
    if data in PUBLISHED:
        axes.axhline(100 * PUBLISHED[data][0], linestyle=":", color="gray", label="published, fine-tuned")
    axes.set(xlabel="CPU minutes of training", ylabel="character error rate, %", xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):  # 20, not 2 x 10^1
        axis.set_major_formatter(LogFormatter())
        axis.set_minor_formatter(LogFormatter())
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=120))


def _together(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows that differ in nothing but the seed; a model's by their time."""
    names = ("model", "minutes", "rate", "spec", "epochs")
    keys = [tuple(row.get(name) for name in names[: 5 if row["model"] == "kraken" else 2]) for row in rows]
    groups = [[row for row, own in zip(rows, keys, strict=True) if own == key] for key in dict.fromkeys(keys)]
    models = [group[0]["model"] for group in groups]
    yield from sorted(groups, key=lambda group: (models.index(group[0]["model"]), group[0]["cpu_minutes"]))


def _line(own: Sequence[Row]) -> list[str]:
    first = own[0]
    name = f"kraken, a small network, rate {first['rate']:g}" if first["model"] == "kraken" else first["model"]
    interval = [f"{rate:.2%}" for rate in first.get("cer_interval", ())]
    return [
        name,
        f"{first['lines']:,}",
        f"{statistics.fmean(row['cpu_minutes'] for row in own):.1f}",
        _percent([row["cer"] for row in own]),
        " .. ".join(interval),
        _percent([row["wer"] for row in own]),
        *(
            _percent([row[way]["cer"] for row in own]) if all(way in row for row in own) else ""
            for way in ("with_beam", "with_language")
        ),
        f"{first['parameters']:,}" if "parameters" in first else "",
        f"{statistics.fmean(row['epochs'] for row in own):.1f}",
        str(len(own)),
    ]


def _percent(values: Sequence[float]) -> str:
    around = f" ({min(values):.2%} .. {max(values):.2%})" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2%}{around}"
