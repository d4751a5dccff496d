"""All tables in the README and on the site, made from kept results: ``python -m benchmarks.tables``. Measures nothing.

Writes the reports beside the results, too. What the tests find, ``docs/support.md``, is written by the tests.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from benchmarks import gpu_report, growth, handwriting_report, image_models, instructions, prebuilt, report, versions
from benchmarks.harness import markdown_table, number, read_results, replace_section, spread
from spatial_lstm.files import write_atomically

ROOT = Path(__file__).parents[1]
PERAIRE, COPISTE = (ROOT / "benchmarks" / "results" / f"handwriting_{name}.json" for name in ("peraire", "copiste"))
# Zen 4, Zen 5, Zen 3, which has no AVX-512, and a Xeon, which has a matrix unit.
MACHINE, ANOTHER, AVX2, XEON = (
    ROOT / "benchmarks" / "results" / f"{name}-2-cores"
    for name in (
        "amd-epyc",
        "amd-epyc-family-26",
        "amd-epyc-family-25",
        "intel-r-xeon-r-processor-family-6-model-207",
    )
)
# What of the layer's table the README has room for.
README_SIZES = (
    "32 x 28x28, 1 to 32",
    "16 x 32x32, 16 to 64",
    "8 x 64x64, 32 to 128",
    "1 x 32x1024, 1 to 16",
    "4 x 256x256, 3 to 32",
)


def speed() -> str:
    """Five sizes: milliseconds of a training step, and how many times longer others take."""
    results = read_results(MACHINE / "layer.json")
    rows = {row["size"]["label"]: row for row in results["rows"] if (row["mode"], row["threads"]) == ("training", 1)}
    lines = []
    for label in README_SIZES:
        found = {name: spread(one["seconds"]).median for name, one in rows[label]["contestants"].items()}
        ours = found["cpp"]
        times = [number(found[name] / ours) for name in ("floor", "nn.LSTM", "site loop")]
        lines.append([label, number(ours * 1e3), *times])
    head = ["N x HxW, C to h", "ms", "matrix products alone", "`nn.LSTM`, equal FLOPs", "loop over pixels"]
    return markdown_table(head, lines)


def evidence() -> str:
    """What the README has room for."""
    left_out = "MCGSM", "BSDS300, RIDE", "3 layers", "BiLSTM, 1 layer"
    lines = image_models.section(image_models.RESULTS).splitlines()
    shown = [line for line in lines if not any(part in line for part in left_out)]
    return "\n".join([*shown, handwriting_report.evidence(PERAIRE)])


def growth_section() -> str:
    """Largest |c| for every cell and way to draw the weights."""
    results = json.loads(growth.RESULTS.read_text())
    return growth.section(results["hidden_size"], results["largest_c"])


# File and section, and what makes it.
SECTIONS: dict[tuple[str, str], Callable[[], str]] = {
    ("README.md", "speed"): speed,
    ("README.md", "evidence"): evidence,
    ("docs/benchmarks.md", "benchmark"): lambda: report.section(MACHINE, ROOT / "docs", "report.md"),
    ("docs/benchmarks.md", "another"): lambda: report.another(ANOTHER, ROOT / "docs", "report-of-another.md"),
    ("docs/benchmarks.md", "avx2"): lambda: report.another(AVX2, ROOT / "docs", "report-of-avx2.md"),
    ("docs/benchmarks.md", "xeon"): lambda: report.another(XEON, ROOT / "docs", "report-of-xeon.md"),
    ("docs/benchmarks.md", "gpu"): gpu_report.section,
    ("docs/cells.md", "growth"): growth_section,
    ("benchmarks/gpu-predictions.md", "instructions"): instructions.section,
    ("docs/install.md", "prebuilt"): lambda: prebuilt.summary(read_results(MACHINE / "prebuilt.json")),
    ("docs/install.md", "prebuilt-xeon"): lambda: prebuilt.summary(read_results(XEON / "prebuilt.json")),
    ("docs/install.md", "versions"): versions.section,
    ("docs/handwriting.md", "handwriting"): lambda: handwriting_report.section(PERAIRE),
    ("docs/handwriting.md", "writers"): lambda: handwriting_report.section(COPISTE),
    ("docs/image-models.md", "images"): lambda: image_models.section(image_models.RESULTS),
}
REPORTS: dict[str, Callable[[], str]] = {
    "benchmarks/results/amd-epyc-2-cores/report.md": lambda: report.report(MACHINE),
    "benchmarks/results/amd-epyc-family-26-2-cores/report.md": lambda: report.report(ANOTHER),
    "benchmarks/results/amd-epyc-family-25-2-cores/report.md": lambda: report.report(AVX2),
    "benchmarks/results/intel-r-xeon-r-processor-family-6-model-207-2-cores/report.md": lambda: report.report(XEON),
    "benchmarks/results/handwriting_peraire.md": lambda: handwriting_report.report(PERAIRE),
    "benchmarks/results/handwriting_copiste.md": lambda: handwriting_report.report(COPISTE),
    "benchmarks/results/image_models.md": lambda: image_models.report(image_models.RESULTS),
}


def texts() -> dict[Path, str]:
    """Every file with tables, as it should be."""
    found = {ROOT / name: make() for name, make in REPORTS.items()}
    for (name, section), make in SECTIONS.items():
        path = ROOT / name
        found[path] = replace_section(found.get(path) or path.read_text(), section, make())
    return found


def main() -> None:
    """Write those that are not as they should be."""
    for path, text in texts().items():
        if not path.exists() or path.read_text() != text:
            write_atomically(path, partial(_write, text))
            print(os.path.relpath(path))


def _write(text: str, file: BinaryIO) -> None:
    file.write(text.encode())


if __name__ == "__main__":
    main()
