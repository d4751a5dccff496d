"""What tests of the benchmarks measure: a field and a budget, both tiny."""

from __future__ import annotations

from benchmarks.fields import Size
from benchmarks.harness import Budget

TINY = Budget(0.0, least=2, most=2)
SIZE = Size(2, (4, 3), 3, 4)
