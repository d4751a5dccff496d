"""What every benchmark does alike: check, then time in interleaved rounds; describe the machine; keep the figures; print tables.

Nothing here knows of the library but its version, its tolerances and how it writes files; what is timed is in :mod:`benchmarks.fields`
and :mod:`benchmarks.opponents`.
"""

from benchmarks.harness.command import Settings, settings_from
from benchmarks.harness.machine import describe_machine, machine_name
from benchmarks.harness.progress import watched
from benchmarks.harness.results import Row, as_kept, kept_rows, read_results, write_results
from benchmarks.harness.statistics import Spread, geometric_mean, growth_exponent, ratio, spread
from benchmarks.harness.tables import markdown_table, number, replace_section, table_by_mode
from benchmarks.harness.threads import numpy_blas, on_threads
from benchmarks.harness.timing import Budget, Contestant, Measurement, WrongResultError, check, measure

__all__ = [
    "Budget",
    "Contestant",
    "Measurement",
    "Row",
    "Settings",
    "Spread",
    "WrongResultError",
    "as_kept",
    "check",
    "describe_machine",
    "geometric_mean",
    "growth_exponent",
    "kept_rows",
    "machine_name",
    "markdown_table",
    "measure",
    "number",
    "numpy_blas",
    "on_threads",
    "ratio",
    "read_results",
    "replace_section",
    "settings_from",
    "spread",
    "table_by_mode",
    "watched",
    "write_results",
]
