"""The digits among the examples: data, training, resuming, picture, command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from examples.digits import __main__ as command
from examples.digits.data import Digits, DistortedBatches, load_digits
from examples.digits.network import DigitClassifier
from examples.digits.picture import draw
from examples.digits.task import BATCH, DigitsTask
from spatial_lstm.training import BEST, LAST, METRICS, Checkpoint, Options, Trainer, files

pytest.importorskip("sklearn")


def few(seed: int = 0) -> Digits:
    """Digits enough for two batches, and some held out."""
    digits = load_digits(seed)
    return Digits(digits.train[: BATCH + 10], digits.validation[:20], digits.test[:60])


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "load_digits", few)


def interrupt_at(total: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run be interrupted in the middle of its step number ``total``."""
    step = Trainer._step

    def interrupted(self: Trainer[Any], *args: Any) -> None:
        if self.state.total == total:
            raise KeyboardInterrupt
        step(self, *args)

    monkeypatch.setattr(Trainer, "_step", interrupted)


def test_split_is_disjoint_and_whole() -> None:
    from sklearn import datasets

    digits = load_digits(3)
    parts = [digits.train, digits.validation, digits.test]
    assert [len(part) for part in parts] == [1178, 169, 450]
    found = torch.cat([part.images for part in parts]).flatten(1)
    expected = torch.from_numpy(datasets.load_digits().images).float().flatten(1) / 16
    assert sorted(found.tolist()) == sorted(expected.tolist())
    assert 0 == found.min() < found.max() == 1
    assert torch.equal(load_digits(3).test.labels, digits.test.labels)
    assert not torch.equal(load_digits(4).test.labels, digits.test.labels)


def test_batches_are_functions_of_seed_and_step() -> None:
    digits = few()
    batches = DistortedBatches(digits.train, BATCH, [0, 1])
    assert [len(batches[step]) for step in range(3)] == [BATCH, 10, BATCH]
    again = DistortedBatches(digits.train, BATCH, [0, 1])[2]
    assert torch.equal(again.images, batches[2].images)
    assert torch.equal(again.labels, batches[2].labels)
    assert not torch.equal(batches[0].labels, batches[2].labels)
    seen = torch.cat([batches[step].labels for step in range(2)])
    assert torch.equal(seen.sort().values, digits.train.labels.sort().values)


def test_network_sees_the_whole_image() -> None:
    images = torch.randn(1, 1, 8, 8, requires_grad=True)
    DigitClassifier(4)(images)[0, 3].backward()
    assert images.grad is not None
    assert (images.grad != 0).all()


def test_resumed_training_is_the_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(seed=1, validate_every=2, checkpoint_seconds=0)
    runs = []
    for name in ("whole", "broken"):
        task = DigitsTask(few(1), 1)
        runs.append(Trainer(task, task.schedule(3), folder=tmp_path / name, options=options))
    runs[0].run()
    with monkeypatch.context() as patch:
        interrupt_at(3, patch)
        with pytest.raises(KeyboardInterrupt):
            runs[1].run()
    checkpoint = Checkpoint.read(tmp_path / "broken")
    resumed = Trainer.resume(tmp_path / "broken", checkpoint, DigitsTask.restore(checkpoint, few(1)))
    assert resumed.run() == runs[0].state.best
    for a, b in zip(resumed.task.model.parameters(), runs[0].task.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint", torch.zeros(1), {"model": 1}])
def test_resume_from_something_else(content: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if isinstance(content, bytes):
        (tmp_path / LAST).write_bytes(content)
    elif content is not None:
        torch.save(content, tmp_path / LAST)
    assert command.main(["--resume", "--out", str(tmp_path)]) == 2
    assert "digits: expected a checkpoint" in capsys.readouterr().err


@pytest.mark.usefixtures("few_digits")
def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    arguments = ["--epochs", "2", "--out", str(tmp_path)]
    assert command.main(arguments) == 0
    assert (tmp_path / command.PICTURE).read_bytes().startswith(b"\x89PNG")
    assert "held-out digits recognized" in capsys.readouterr().out
    assert {p.name for p in tmp_path.iterdir()} == {command.PICTURE, LAST, BEST, METRICS}
    assert command.main(arguments) == 2
    assert "add --resume or --overwrite" in capsys.readouterr().err
    assert command.main([*arguments, "--resume"]) == 0  # nothing left to train; draws anew
    assert command.main([*arguments, "--overwrite"]) == 0
    with pytest.raises(SystemExit, match="2"):
        command.main(["--epochs", "0"])


@pytest.mark.usefixtures("few_digits")
def test_an_interrupted_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(3, patch)
        assert command.main(["--epochs", "2", "--out", str(tmp_path)]) == 130
    assert "--resume continues" in capsys.readouterr().err
    assert command.main(["--resume", "--out", str(tmp_path)]) == 0
    assert Checkpoint.read(tmp_path).state.total == 4


def test_a_run_on_other_data_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = DigitsTask(few())
    Trainer(task, task.schedule(1), folder=tmp_path).prepare()
    content = files.read(tmp_path / LAST)
    content["model"]["kind"] = "RIDE"
    files.save(tmp_path / LAST, content)
    assert command.main(["--resume", "--out", str(tmp_path)]) == 2
    assert "expected a run on the digits, got one of RIDE" in capsys.readouterr().err


def test_picture_of_an_untrained_network(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw(DigitsTask(few()), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 20_000
