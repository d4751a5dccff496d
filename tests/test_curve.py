"""What a picture of a run shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spatial_lstm.training.curve import learning_curve, limits


def line(step: int, train: float | None, validation: float, phase: str = "steps") -> dict[str, Any]:
    return {"step": step, "stage": 0, "phase": phase, "train": train, "validation": validation}


def test_all_of_both_lines_is_shown_but_the_beginning() -> None:
    metrics = [line(9, -9.0, -8.0), line(50, 1.5, 2.0), line(100, 3.5, 2.5), line(100, None, 2.7, "finetune")]
    low, high = limits(metrics, 0.1)
    assert low == pytest.approx(1.5, abs=0.2)
    assert low < 1.5
    assert high == pytest.approx(3.5, abs=0.2)
    assert high > 3.5
    assert limits(metrics, 0.0)[0] < -9


def test_one_score_is_enough(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    low, high = limits([line(0, None, 2.0)], 0.1)
    assert low < 2 < high
    learning_curve(tmp_path / "curve.png", [line(0, None, 2.0)], "score")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("last", "scale"), [(900, "linear"), (1000, "log")], ids=["short", "long"])
def test_a_long_run_is_drawn_over_the_logarithm_of_the_steps(
    last: int, scale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = pytest.importorskip("matplotlib.figure")
    drawn: list[Any] = []
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, *_, **__: drawn.append(self))
    learning_curve(tmp_path / "curve.png", [line(10, 1.0, 1.0), line(last, 2.0, 2.0)], "score")
    (axes,) = drawn[0].axes
    assert axes.get_xscale() == scale
