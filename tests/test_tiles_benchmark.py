"""The benchmark of tiles and streams, on something tiny."""

from __future__ import annotations

from dataclasses import asdict

from benchmarks import tiles
from benchmarks.fields import Size


def test_the_benchmark_measures() -> None:
    size, tile = Size(1, (6, 5), 2, 3), (2, 2)
    seconds = tiles.step_seconds(size, (tile,))
    assert seconds.keys() == {None, tile}
    row = tiles.stream_row(16)
    assert row["files"] > 16 * 16 * (1 + 8 * 2)
    assert row["resident"] > 1e7
    case = {"tile": tile, "recompute": False, "peak": 5.0, "held": 4.5, "time": 1.25}
    table = tiles.tables({"rows": [{"size": asdict(size) | {"label": size.label}, "cases": [case]}, row]})
    assert "| 2x2 | 5.0 | 4.5 | 1.25 |" in table
    assert "| 16x16 |" in table
