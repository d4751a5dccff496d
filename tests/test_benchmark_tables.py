"""What is told of the benchmarks' figures: shares, where others are faster, threads side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import layer, peak, report, shapes, shares


def test_a_share_is_the_time_at_the_peak_over_the_time() -> None:
    contestants = {"floor": {"seconds": [2.0]}, "cpp": {"seconds": [4.0, 8.0]}, peak.FMA: {"seconds": [1.0, 2.0]}}
    assert shares.share({"contestants": contestants}, "cpp") == "25 %"
    assert shares.with_share("2", {"contestants": {"cpp": {"seconds": [4.0]}}}, "cpp") == "2"
    rows = [{"missing": ["a: no"]}, {"missing": ["a: no", "b: no"]}]
    assert shares.missing_line(rows) == "Not measured: a: no; b: no."
    assert shares.missing_line([{}]) == ""


def test_where_we_are_behind_is_told() -> None:
    row = {"mode": "training", "threads": 1, "flop_ratio": 1.0, "size": {"label": "small"}}
    rows = [row | {"contestants": {"cpp": {"seconds": [ours]}, "nn.LSTM": {"seconds": [1.0]}}} for ours in (0.5, 1.2)]
    text = shapes.tables({"rows": rows})
    assert "1 of 2 |" in text
    assert "| small | training | 1 | 1,200 | 1,000 | 1.20 | x 1.00 |" in text


def test_threads_stand_side_by_side() -> None:
    contestants = {"floor": {"seconds": [2e-3]}, "plain": {"seconds": [4e-3]}, "nn.LSTM": {"seconds": [3e-3]}}
    row = {"size": {"label": "small"}, "mode": "training", "lstm": {"flop_ratio": 1.0}}
    faster = {name: {"seconds": [found["seconds"][0] / 2]} for name, found in contestants.items()}
    rows = [row | {"threads": 1, "contestants": contestants}, row | {"threads": 2, "contestants": faster}]
    text = layer.tables({"rows": rows})
    assert "| N x HxW, C to h | floor, 1 | floor, 2 | plain, 1 | plain, 2 | nn.LSTM, 1 | nn.LSTM, 2 |" in text
    assert "| small | 2.00 | 1.00 (x 2.00) | 4.00 | 2.00 (x 2.00) | 3.00 | 1.50 (x 2.00) |" in text


def test_the_documentation_needs_figures(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run the benchmarks first"):
        report.section(tmp_path, tmp_path, "report.md")
