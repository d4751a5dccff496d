"""All benchmarks: ``python -m benchmarks [--quick] [--threads 1 2]``.

Writes JSON, a Markdown report and plots into one folder per machine: ``benchmarks/results/<machine>``, or with ``--quick`` (some two
minutes on two cores) ``out/benchmarks/<machine>``. Each benchmark runs alone, too: ``python -m benchmarks.layer`` and so on; the tables
of the documentation are made by ``python -m benchmarks.tables``.
"""

from __future__ import annotations

from benchmarks import bfloat16, directions, layer, memory, pipeline, plots, ragged, scaling, sequences, shapes
from benchmarks.harness import settings_from
from benchmarks.report import write_report


def main() -> None:
    """Run them all, one after the other."""
    settings = settings_from(None, __doc__)
    for benchmark in (layer, directions, shapes, sequences, bfloat16, ragged, memory, scaling, pipeline):
        benchmark.run(settings)
    for file in (*plots.draw(settings.folder), write_report(settings.folder)):
        print(file)


if __name__ == "__main__":
    main()
