"""The digits: data, training, checkpoints, picture, command."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spatial_lstm.cli import digits as command
from spatial_lstm.cli import main
from spatial_lstm.digits import DigitClassifier, Digits, Run, draw, load_digits, training

tqdm = pytest.importorskip("tqdm").tqdm
pytest.importorskip("sklearn")


def few(seed: int = 0) -> Digits:
    """Digits enough for two batches, and twenty held out."""
    all_of_them = load_digits(seed)
    return Digits(*(t[:count] for t, count in zip(vars(all_of_them).values(), (100, 100, 60, 60), strict=True)))


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "load_digits", few)
    monkeypatch.setattr("spatial_lstm.digits.load_digits", few)


def test_split_is_disjoint_and_whole() -> None:
    digits = load_digits(3)
    everything = torch.cat([digits.images, digits.held_out_images])
    assert len(digits.held_out_labels) == 450
    assert len(everything) == 1797
    assert len(everything.unique(dim=0)) == len(load_digits(0).images.unique(dim=0)) + len(
        load_digits(0).held_out_images.unique(dim=0)
    )
    assert 0 == everything.min() < everything.max() == 1


def test_network_sees_the_whole_image() -> None:
    images = torch.randn(1, 1, 8, 8, requires_grad=True)
    DigitClassifier(4)(images)[0, 3].backward()
    assert images.grad is not None
    assert (images.grad != 0).all()


@pytest.mark.usefixtures("few_digits")
def test_resumed_training_is_the_uninterrupted_one(tmp_path: Path) -> None:
    whole, first = Run(3, 1, few(1)), Run(3, 1, few(1))
    with tqdm(disable=True) as bar:
        for _ in range(3):
            whole.epoch(bar)
        first.epoch(bar)
        first.save(tmp_path / "run.pt")
        second = Run.load(tmp_path / "run.pt")
        for _ in range(2):
            second.epoch(bar)
    assert second.history == whole.history
    for a, b in zip(second.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint", torch.zeros(1)])
def test_resume_from_something_else(
    content: bytes | torch.Tensor | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / command.CHECKPOINT
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    assert main(["digits", "--resume", "--out", str(tmp_path)]) == 2
    assert "expected a checkpoint" in capsys.readouterr().err


@pytest.mark.usefixtures("few_digits")
def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(command, "print_table", lambda: True)
    arguments = ["digits", "--epochs", "2", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert (tmp_path / command.PICTURE).read_bytes().startswith(b"\x89PNG")
    assert "held-out digits recognised" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == [command.PICTURE, command.CHECKPOINT]
    assert main([*arguments, "--resume"]) == 0  # nothing left to train; draws anew
    assert main(["digits", "--epochs", "0"]) == 2


@pytest.mark.usefixtures("few_digits")
def test_interrupted_epoch_loses_only_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "print_table", lambda: True)
    epoch = Run.epoch

    def interrupted(run: Run, bar: object) -> None:
        if run.history:
            raise KeyboardInterrupt
        epoch(run, bar)

    monkeypatch.setattr(Run, "epoch", interrupted)
    assert main(["digits", "--epochs", "2", "--out", str(tmp_path)]) == 130
    assert "--resume continues" in capsys.readouterr().err
    assert len(Run.load(tmp_path / command.CHECKPOINT).history) == 1


def test_picture_of_an_untrained_network(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = Run(1, 0, few())
    run.history.append((2.3, run.accuracy()))
    draw(run, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 20_000
