"""The main job on a small scale, and the benchmark's table."""

from __future__ import annotations

import errno
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import dead_leaves as benchmark
from spatial_lstm.cli import main, ride_demo
from spatial_lstm.cli.errors import UsageError
from spatial_lstm.image_models import data
from spatial_lstm.training import BEST, Trainer

TINY = benchmark.Budget(4, 2, 64, 3, 2, 2, 2, 2, 4, 16, 1e-2)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    def loader(seed: int, color: bool) -> data.Splits:
        return data.generated(train=3, held_out=3, side=32, seed=seed)

    monkeypatch.setitem(data.NAMES, "deadleaves", loader)
    sizes = {"COMPONENTS": 2, "FEATURES": 2, "HIDDEN": 3, "MCGSM_STEPS": 2, "LEAST_STEPS": 2, "BATCH": 2}
    for name, value in {**sizes, "SHOWN": 24, "WHOLE": 32, "HOLE": 6}.items():
        monkeypatch.setattr(ride_demo, name, value)


@pytest.mark.usefixtures("small")
def test_the_main_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ride_demo.demo(tmp_path, seconds=1e-3) == 0
    said = capsys.readouterr().out
    mcgsm, ride, gain = (float(said.split(f"{name} ")[1].split()[0]) for name in ("MCGSM", "RIDE", "gain"))
    assert abs(ride - mcgsm - gain) < 2e-3
    assert (tmp_path / "ride.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / BEST).is_file()


@pytest.mark.usefixtures("small")
def test_an_interrupted_main_job_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = Trainer._step

    def interrupted(self: Trainer[Any], *args: Any) -> None:
        if self.folder is not None:
            raise KeyboardInterrupt
        step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupted)
        assert ride_demo.demo(tmp_path, seconds=1e-3) == 130
    assert f"train-ride --resume --out {tmp_path}" in capsys.readouterr().err
    assert main(["train-ride", "--resume", "--out", str(tmp_path), "--no-pictures"]) == 0


@pytest.mark.usefixtures("small")
def test_a_main_job_on_a_full_disk_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ride_demo, "_draw", full)
    with pytest.raises(UsageError, match=f"No space left on device; .* train-ride --resume --out {tmp_path} continues"):
        ride_demo.demo(tmp_path, seconds=1e-3)


@pytest.mark.usefixtures("small")
def test_the_main_job_runs_again_and_again_beside_the_users_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has a folder of its own, and of what it finds there it loses what it left there alone."""
    monkeypatch.setattr(ride_demo, "print_table", lambda: True)
    monkeypatch.chdir(tmp_path)
    small = ["--hidden", "3", "--components", "2", "--scales", "2", "--features", "2", "--patch", "12", "--no-pictures"]
    assert main(["train-ride", *small, "--steps", "2", "--batch", "2"]) == 0
    own = {path: path.read_bytes() for path in (tmp_path / "out" / "ride").iterdir()}
    for _ in range(2):
        assert main(["ride", "--seconds", "0.001"]) == 0
    assert {path: path.read_bytes() for path in own} == own
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["ride", "ride-demo"]
    capsys.readouterr()
    assert main(["ride", "--seconds", "0.001", "--out", "out/ride"]) == 2
    said = capsys.readouterr()
    assert "expected out/ride to be empty or to hold an earlier demonstration, got another run" in said.err
    assert said.out == ""
    assert {path: path.read_bytes() for path in own} == own
    (tmp_path / "out" / "ride-demo" / "last.pt").write_bytes(b"broken")
    assert main(["ride", "--seconds", "0.001"]) == 2


@pytest.mark.usefixtures("small")
def test_the_main_job_refuses_nonsense(capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--seconds", "0"], ["--seconds", "inf"], ["--seed", "-1"]):
        with pytest.raises(SystemExit, match="2"):
            main(["ride", *options])
        assert "expected a" in capsys.readouterr().err


def test_the_marginal_of_uniform_noise_is_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    contest = benchmark.Contest(TINY, 0)
    noise = [torch.rand(1, 400, 400, generator=torch.Generator().manual_seed(k)) / 2 for k in range(2)]
    monkeypatch.setattr(contest, "splits", data.Splits("noise", noise[:1], noise[:1], noise[1:]))
    assert abs(contest.marginal()[0] - 1) < 0.02


def test_the_benchmark_goes_on_with_what_is_missing() -> None:
    names = ["marginal", "linear-Gaussian", "MCGSM nb 5", "RIDE", "ensemble"]
    rows = list(benchmark.rows_of(TINY, 1, names, []))
    assert [row["model"] for row in rows] == names
    assert all(math.isfinite(row["bits_per_pixel"]) for row in rows)
    assert rows[0]["bits_per_pixel"] < rows[1]["bits_per_pixel"]
    assert [row["model"] for row in benchmark.rows_of(TINY, 1, names, rows[1:])] == names[:1]


def test_deep_models_grow_from_shallow_ones() -> None:
    contest = benchmark.Contest(TINY, 0)
    deep = contest.models["RIDE 3 layers"]()
    found = [contest.stacks[layers][1] for layers in (1, 2, 3)]
    assert deep == found[2]
    assert [one.steps for one in found] == [2, 4, 6]
    assert found[0].cpu_seconds < found[1].cpu_seconds < found[2].cpu_seconds
    assert contest.ensemble()[1:] == deep[1:]
    assert contest.models["RIDE, thrice the steps"]().steps == deep.steps
    weights = torch.cat([p.flatten() for p in contest.stacks[3][0].parameters()]).tolist()
    longer = [contest.models[f"RIDE 3 layers, then {how}"]() for how in ("64x64", "as before")]
    assert [one.steps for one in longer] == [10, 10]
    assert longer[0].bits_per_pixel != longer[1].bits_per_pixel
    assert torch.cat([p.flatten() for p in contest.stacks[3][0].parameters()]).tolist() == weights  # for the ensemble


def test_the_table_has_gaps_on_the_same_images() -> None:
    rows = [
        {
            "model": model,
            "seed": seed,
            "bits_per_pixel": bits,
            "parameters": 1000,
            "steps": 5000,
            "cpu_seconds": 2.0,
        }
        for model, seed, bits in (("MCGSM nb 5", 0, 1.5), ("MCGSM nb 5", 1, 1.7), ("RIDE", 0, 1.6), ("RIDE", 1, 1.9))
    ]
    last = benchmark.table(rows).splitlines()[-1]
    assert last == "| RIDE | 1.750 (1.600 .. 1.900) | +0.150 (+0.100 .. +0.200) | +0.11 | 1,000 | 5,000 | 2 | 2 |"
