"""The report on image models, ``python -m benchmarks.image_models``, and the documentation's section.

Makes ``benchmarks/results/image_models.md`` from what :mod:`benchmarks.photographs`, :mod:`benchmarks.mnist`, :mod:`benchmarks.textures`
and :mod:`benchmarks.dead_leaves` have kept.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import dead_leaves, mnist, photographs, textures
from benchmarks.harness import Row, kept_rows, markdown_table
from spatial_lstm.files import write_atomically

RESULTS = Path(__file__).parent / "results"
REPORT = "image_models.md"
UNIT = (
    "Bits per pixel are the mean log2 of the density of a pixel on [0, 1], higher is better; 8 minus that many bits per dimension is\n"
    "what other papers print, lower is better. Published figures are from memory and unchecked."
)


def rows_of(name: str, folder: Path) -> list[Row]:
    """The rows of a benchmark, none if it has not been run."""
    return kept_rows(folder / f"{name}.json")


def report(folder: Path) -> str:
    """Everything that was measured, as Markdown."""
    parts = ["# Image models", UNIT]
    paper, cells = rows_of("photographs_paper", folder), rows_of("photographs_cells", folder)
    if paper:
        shown = photographs.table(photographs.published_rows(folder), "paper")
        parts += ["## Photographs: BSDS300", _what(photographs), shown]
        if (folder / "photographs.png").is_file():
            parts.append("![Gain against the side of the tiles](photographs.png)")
    if cells:
        size = cells[0]["settings"]
        settings = (
            f"{size['hidden']} hidden units, {size['components']} components, {size['steps']:,} steps for each layer"
        )
        parts += [
            "## Which cell holds beyond the patches it was trained on",
            f"{settings}.",
            photographs.table(cells, "cells"),
        ]
    if digits := rows_of("mnist", folder):
        parts += ["## Binary MNIST", _what(mnist), mnist.table(digits)]
        parts += [f"![Samples of a {path.stem}]({path.name})" for path in sorted(folder.glob("mnist-*.png"))]
    if surfaces := rows_of("textures", folder):
        parts += ["## Textures", _what(textures), textures.table(surfaces), "![Textures and samples](textures.png)"]
    for budget in dead_leaves.BUDGETS:
        if leaves := rows_of(f"dead_leaves_{budget}", folder):
            parts += [f"## Dead leaves, budget {budget!r}", dead_leaves.report(leaves)]
    return "\n\n".join(parts) + "\n"


def _what(benchmark: object) -> str:
    """The last paragraph of a benchmark's docstring."""
    return (benchmark.__doc__ or "").strip().rpartition("\n\n")[2]


def section(folder: Path) -> str:
    """A line for each model, trained the longest, and the published figure where there is one."""
    lines = []
    trainings = photographs.by_training(photographs.published_rows(folder))
    for name, own in {name: own for (name, _), own in trainings.items()}.items():
        if name != photographs.LINEAR:
            published = f"{photographs.PUBLISHED[name]:.3f}" if name in photographs.PUBLISHED else ""
            lines.append([f"BSDS300, {name}", f"{photographs.mean_bits(own, '64')} bits per pixel", published])
    digits = sorted(rows_of("mnist", folder), key=lambda row: int(row["steps"]))
    for name, row in {row["model"]: row for row in digits if row["binarize"] == "sample"}.items():
        if name in mnist.PUBLISHED:
            error, published = f"± {row['standard_error']:.2f}", f"{mnist.PUBLISHED[name]:.2f}"
            lines.append([f"binary MNIST, {name}", f"{row['nats_per_image']:.2f} {error} nats", published])
    return markdown_table(["", "here", "published (from memory, unchecked)"], lines)


def main() -> None:
    """Write the report."""
    write_atomically(RESULTS / REPORT, lambda file: file.write(report(RESULTS).encode()))
    print(RESULTS / REPORT)


if __name__ == "__main__":
    main()
