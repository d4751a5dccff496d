"""The benchmark of fields over processes: its model, and all of it once on something tiny."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import pipeline, plots
from benchmarks.harness import Settings, read_results
from benchmarks.pipeline_model import HEADINGS, Sample, fit_blocks, fit_messages, predict, walk
from spatial_lstm.distributed.cost import Costs


def test_costs_are_found_again() -> None:
    costs = [
        (1e-9 * flops + 2e-6 * (h + w - 1) + 3e-4, flops, (h, w))
        for flops, h, w in ((1e6, 4, 9), (5e6, 8, 2), (2e7, 30, 3), (9e7, 50, 60))
    ]
    found = fit_blocks([Sample(extents, flops, seconds) for seconds, flops, extents in costs])
    assert found == pytest.approx((1e9, 2e-6, 3e-4))
    assert fit_messages([1000, 5000, 9000], [2e-4 + size / 1e8 for size in (1000, 5000, 9000)]) == pytest.approx(
        (2e-4, 1e8)
    )


@pytest.mark.parametrize("heading", HEADINGS.values(), ids=HEADINGS)
def test_places_do_one_thing_at_a_time_and_wait_for_messages(heading: tuple[int, ...]) -> None:
    spans = list(walk(heading, 4, 5, 2.0, 0.5))
    assert len(spans) == 4 * 5 * len(heading)
    ends = {(span.place, span.item): span.end for span in spans}
    last = [0.0] * 4
    for span in spans:
        assert span.start >= last[span.place]
        last[span.place] = span.end
        assert span.start >= ends.get((span.place - heading[span.item.direction], span.item), -0.5) + 0.5


def test_efficiency_is_below_one_and_falls() -> None:
    rows = list(predict([Costs(6e10, 6e-6, 5e-4, 2e-4, 1e9)] * 2, 8, 64, (2, 8, 32)))
    for series in ("weak", "strong"):
        for name in HEADINGS:
            found = [row["efficiency"] for row in rows if (row["series"], row["directions"]) == (series, name)]
            assert 1 > found[0] > found[1] > found[2] > 0


def test_a_gain_by_cpu_time_has_the_bubble_on_top() -> None:
    step = {"kind": "step", "round": 1}
    rows = [
        step | {"name": "one process", "rank": 0, "seconds": 12.0, "cpu": 10.0},
        step | {"name": "one process", "rank": 1, "seconds": 12.0, "cpu": 0.0},
        *(step | {"name": "4, chosen", "rank": rank, "seconds": 8.0, "cpu": 4.0 + rank} for rank in (0, 1)),
    ]
    assert pipeline.gains(rows) == {"4, chosen": {"clock": 1.5, "cpu": 1.6}}


def test_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(pipeline, "QUICK", pipeline.Plan(16, ((4, 8), (8, 8), (4, 16)), (512, 4096), 1, (None, 4)))
    monkeypatch.setattr(
        pipeline, "fit", lambda rows: [Costs(6e10, 6e-6, 5e-4, 2e-4, 1e9)] * 2
    )  # blocks so small say nothing of costs
    settings = Settings(tmp_path / "machine", (1,), True)
    pipeline.run(settings)
    rows = read_results(settings.folder / "pipeline.json")["rows"]
    traced = [row for row in rows if row["kind"] == "trace" and row["doing"] == "compute"]
    assert len(traced) == 2 * 2 * 4 * 8  # ranks, passes, directions, blocks
    assert {(row["rank"], row["backward"]) for row in traced} == {(0, False), (0, True), (1, False), (1, True)}
    (picture,) = plots.draw(settings.folder)
    assert picture.stat().st_size < 200_000
    assert "Two processes, times as fast as one" in capsys.readouterr().out
