"""The training loop: schedules, batches, checkpoints that continue bitwise, early stopping, several processes, and the command."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from spatial_lstm.cli import train_ride
from spatial_lstm.image_models import RIDE, ColorRIDE, MCGSMImage, data
from spatial_lstm.training import (
    BEST,
    LAST,
    METRICS,
    Group,
    Loss,
    Options,
    Stage,
    Trainer,
    adam,
    files,
    layer_by_layer,
    load_model,
    pictures,
    read_metrics,
    staged_sgd,
)
from spatial_lstm.training.batches import Batches
from tests.cases import assert_close

SMALL = {"components": 2, "scales": 2, "features": 2}
STAGES = [*adam(4, patch=8, batch=4, finetune=2), Stage("sgd", 10, 0.01, 0.001, batch=4, steps=3, finetune=2)]


@pytest.fixture
def splits() -> data.Splits:
    return data.generated(train=2, held_out=1, side=32)


def ride(seed: int = 0, **options: Any) -> RIDE:
    torch.manual_seed(seed)
    return RIDE(hidden_size=3, **SMALL, **options)


def make(splits: data.Splits, folder: Path | None = None, **options: Any) -> Trainer:
    settings = Options(**{"validate_every": 2, "validation_tiles": 2, "checkpoint_seconds": 0, **options})
    return Trainer(ride(), splits, STAGES, folder=folder, options=settings, progress=False, notes={"data": "x"})


def interrupt_at(trainer: Trainer, monkeypatch: pytest.MonkeyPatch, total: int) -> None:
    """Let a trainer be interrupted in the middle of its step number ``total``."""
    step = trainer._step

    def interrupted(*args: Any) -> None:
        if trainer.at.total == total:
            raise KeyboardInterrupt
        step(*args)

    monkeypatch.setattr(trainer, "_step", interrupted)


def without_time(path: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in read_metrics(path)]


@pytest.mark.parametrize("total", [0, 1, 3, 4, 6])
def test_a_resumed_run_continues_bitwise(
    tmp_path: Path, splits: data.Splits, monkeypatch: pytest.MonkeyPatch, total: int
) -> None:
    whole = make(splits, tmp_path / "whole")
    whole.run()
    broken = make(splits, tmp_path / "broken")
    interrupt_at(broken, monkeypatch, total)
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    torch.manual_seed(123)
    resumed = Trainer.resume(tmp_path / "broken", splits, progress=False)
    assert resumed.at.total == total
    assert resumed.notes == {"data": "x"}
    assert resumed.run() == whole.at.best
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor), name
    last = [files.read(tmp_path / folder / LAST) for folder in ("whole", "broken")]
    assert all(
        torch.equal(last[0]["model"]["state"][k], last[1]["model"]["state"][k]) for k in last[0]["model"]["state"]
    )
    assert torch.equal(last[0]["random"]["torch"], last[1]["random"]["torch"])
    assert without_time(tmp_path / "whole" / METRICS) == without_time(tmp_path / "broken" / METRICS)


def test_the_best_weights_are_kept(tmp_path: Path, splits: data.Splits) -> None:
    trainer = make(splits, tmp_path)
    best = trainer.run()
    lines = read_metrics(tmp_path / METRICS)
    assert best == max(line["validation"] for line in lines)
    assert [line["phase"] for line in lines] == ["steps", "steps", "finetune", "steps", "steps", "finetune"]
    assert best == trainer.bits(trainer._held_out)
    loaded = load_model(tmp_path / BEST)
    assert loaded.bits_per_pixel(trainer._held_out) == best


def test_a_stage_stops_when_patience_runs_out(splits: data.Splits) -> None:
    options = Options(validate_every=1, validation_tiles=2, patience=2)
    stages = [Stage("sgd", 8, 3.0, 3.0, batch=4, steps=50), Stage("adam", 8, 1e-3, 1e-3, batch=4, steps=2)]
    trainer = Trainer(ride(), splits, stages, options=options, progress=False)
    best = trainer.run()
    assert trainer.at.total < 40
    assert best == trainer.bits(trainer._held_out)


def test_divergence_is_an_error(splits: data.Splits) -> None:
    stages = [Stage("sgd", 8, 1e9, 1e9, batch=4, steps=6)]
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        Trainer(ride(), splits, stages, options=Options(validate_every=2), progress=False).run()


def test_training_raises_the_likelihood(splits: data.Splits) -> None:
    trainer = Trainer(
        ride(), splits, adam(100, patch=12, batch=8), options=Options(validate_every=25, clip=1), progress=False
    )
    trainer.model.fit_whitening(trainer.tiles("train"))
    before = trainer.bits(trainer.tiles("test"))
    trainer.run()
    assert trainer.bits(trainer.tiles("test")) > before + 0.03


def test_layers_are_added_to_trained_ones(tmp_path: Path, splits: data.Splits) -> None:
    stages = layer_by_layer(adam(2, patch=8, batch=4), 2)
    trainer = Trainer(ride(), splits, stages, folder=tmp_path, options=Options(validate_every=1), progress=False)
    trainer.run()
    assert trainer.model.config()["num_layers"] == 2
    assert load_model(tmp_path / LAST).config()["num_layers"] == 2


@pytest.mark.parametrize(
    "make_model", [lambda: MCGSMImage(**SMALL), lambda: ride(extended=True), lambda: ride(num_layers=2)]
)
def test_other_models_are_trained_too(splits: data.Splits, make_model: Callable[[], Any]) -> None:
    Trainer(make_model(), splits, adam(2, patch=8, batch=4), options=Options(autocast=True), progress=False).run()


def test_schedules() -> None:
    stages = staged_sgd()
    assert [stage.patch for stage in stages] == list(range(8, 23, 2))
    assert [stage.rate for stage in stages] == [1, 0.5, 0.1, 0.05, 0.01, 0.005, 0.001, 0.0005]
    assert {(stage.batch, stage.finetune, stage.epochs) for stage in stages} == {(50, 500, 1)}
    falling = adam(9, rate=1e-2, final_rate=1e-4)[0]
    assert [pytest.approx(falling.rate_at(step, 9)) for step in (0, 4, 8)] == [1e-2, 5.05e-3, 1e-4]
    assert [adam(steps)[0].warmup for steps in (9, 20, 9000)] == [0, 2, 300]
    rising = Stage("adam", 8, 1.0, 1.0, steps=9, warmup=3)
    assert [rising.rate_at(step, 9) for step in (0, 1, 2, 3, 8)] == [0.25, 0.5, 0.75, 1, 1]
    assert stages[0].count(7) == 7
    assert Stage("sgd", 8, 1, 1, epochs=2.5).count(4) == 10
    for wrong in ({"optimiser": "lion"}, {"patch": 0}, {"rate": 0.0}, {"steps": -1}, {"warmup": -1}):
        with pytest.raises(ValueError, match="expected"):
            Stage(**{"optimiser": "sgd", "patch": 8, "rate": 1, "final_rate": 1, **wrong})


def test_an_epoch_shows_every_patch_and_its_mirror_image_once() -> None:
    images = [torch.arange(16 * 24).float().view(1, 16, 24)]
    batches = Batches(images, 8, 4, seed=(0, 1))
    assert batches.per_epoch == 3
    seen = torch.cat([batches[step] for step in range(3)])
    expected = data.with_flips(data.tiles(images, 8))
    assert sorted(map(str, seen.tolist())) == sorted(map(str, expected.tolist()))
    later = batches[4]
    assert torch.equal(Batches(images, 8, 4, seed=(0, 1))[4], later)
    assert not torch.equal(batches[1], later)
    with pytest.raises(ValueError, match="at least 17x17"):
        Batches(images, 17, 4, seed=(0,))


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / LAST
    files.save(path, {"a": 1})
    with pytest.raises(AttributeError, match="pickle"):
        files.save(path, {"a": lambda: None})
    assert files.read(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot be read"):
        files.read(path)
    with pytest.raises(ValueError, match="got none"):
        files.read(tmp_path / "other.pt")


def test_shares_of_a_batch_have_the_whole_batchs_gradient(splits: data.Splits) -> None:
    model = ride().double()
    batch = data.tiles(splits.train, 8)[:5].double()
    model.fit_whitening(batch)
    Loss(model)(batch).backward()
    whole = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    for rank in range(2):
        part, weight = Group(rank, 2).share(batch)
        (Loss(model)(part, weight) / 2).backward()
    assert_close([p.grad for p in model.parameters()], whole)


PROCESS = """
import sys, torch
from spatial_lstm.image_models import data
from spatial_lstm.image_models import RIDE
from spatial_lstm.training import Loss, group_from_environment
torch.manual_seed(0)
model = RIDE(hidden_size=3, components=2, scales=2, features=2, dtype=torch.float64)
batch = data.tiles(data.generated(train=2, held_out=1, side=32).train, 8)[:5].double()
model.fit_whitening(batch)
with group_from_environment(torch.device("cpu")) as group:
    part, weight = group.share(batch)
    loss = group.wrap(Loss(model))
    loss(part, weight).backward()
    if group.rank == 0:
        torch.save([group.world, *(p.grad for p in model.parameters())], sys.argv[1])
"""


def test_two_processes_have_one_processs_gradient(tmp_path: Path) -> None:
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    alone, both = tmp_path / "alone.pt", tmp_path / "both.pt"
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    jobs = [
        subprocess.Popen([sys.executable, *how, str(script), str(out)], stderr=subprocess.PIPE)
        for how, out in (([], alone), (launch, both))
    ]
    for job in jobs:
        _, errors = job.communicate(timeout=60)
        assert job.returncode == 0, errors.decode()
    (one, *expected), (two, *found) = torch.load(alone), torch.load(both)
    assert (one, two) == (1, 2)
    assert_close(found, expected)


def command(*options: str) -> int:
    parser = argparse.ArgumentParser()
    train_ride.add_arguments(parser)
    return train_ride.run(parser.parse_args(options))


SMALL_SIZE = ["--hidden", "3", "--components", "2", "--scales", "2", "--features", "2"]
SMALL_RUN = [*SMALL_SIZE, "--steps", "3", "--batch", "4", "--validate-every", "2", "--patch", "12"]


@pytest.fixture
def small_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def loader(seed: int, color: bool) -> data.Splits:
        return data.generated(train=2, held_out=1, side=48, seed=seed)

    monkeypatch.setitem(data.NAMES, "deadleaves", loader)
    monkeypatch.setattr(pictures, "SWEEPS", 1)


@pytest.mark.usefixtures("small_data")
def test_the_command_trains_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert command("--out", str(out), *SMALL_RUN) == 0
    written = {path.name for path in out.iterdir()}
    assert written == {LAST, BEST, METRICS, "result.json", "curve.png", "samples.png", "inpainting.png"}
    bits = json.loads((out / "result.json").read_text())["bits_per_pixel"]
    assert f"{bits['validation']:.4f} validation, {bits['test']:.4f} test" in capsys.readouterr().out
    assert command("--out", str(out), *SMALL_RUN) == 2
    assert "add --resume" in capsys.readouterr().err
    assert command("--out", str(out), "--resume", "--no-pictures") == 0


@pytest.mark.usefixtures("small_data")
def test_an_interrupted_command_says_how_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = Trainer._step

    def interrupted(self: Trainer, *args: Any) -> None:
        if self.at.total == 2:
            raise KeyboardInterrupt
        step(self, *args)

    monkeypatch.setattr(Trainer, "_step", interrupted)
    assert command("--out", str(tmp_path), "--checkpoint-seconds", "0", *SMALL_RUN) == 130
    assert f"train-ride --resume --out {tmp_path} continues" in capsys.readouterr().err
    monkeypatch.setattr(Trainer, "_step", step)
    assert command("--out", str(tmp_path), "--resume", "--no-pictures") == 0


def test_the_command_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--out", str(tmp_path / "a"), "--data", str(tmp_path)) == 2
    assert "got none" in capsys.readouterr().err
    assert command("--out", str(tmp_path / "a"), "--resume") == 2
    assert "expected a checkpoint" in capsys.readouterr().err


def test_the_command_trains_in_colour(tmp_path: Path) -> None:
    from PIL import Image

    pixels = (data.dead_leaves(3, 64, 128, seed=0)[:, 0].clamp(0, 0.999) * 256).byte().permute(1, 2, 0)
    (tmp_path / "pictures").mkdir()
    Image.fromarray(pixels.numpy()).save(tmp_path / "pictures" / "a.png")
    small = ["--data", str(tmp_path / "pictures"), "--color", "--no-pictures", "--out", str(tmp_path / "run")]
    assert command(*SMALL_RUN, *small) == 0
    assert isinstance(load_model(tmp_path / "run" / BEST), ColorRIDE)
