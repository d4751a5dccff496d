"""The command that trains PixelRNN: on digits, on pictures, on what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spatial_lstm.image_models import PixelRNN
from spatial_lstm.image_models.training import open_model
from spatial_lstm.training import METRICS, Checkpoint, read_metrics
from tests import commands
from tests.commands import picture, pixels

SMALL = ["--hidden", "2", "--kernel", "3", "--batch", "4", "--steps", "3", "--validate-every", "2"]


def command(*options: str | Path) -> int:
    return commands.command("train-pixelrnn", *options)


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """MNIST's files, of a few images of 8x8."""
    folder = tmp_path / "digits"
    folder.mkdir()
    for name, count in (("train", 24), ("t10k", 5)):
        head = np.array([0x803, count, 8, 8], ">u4").tobytes()
        (folder / f"{name}-images-idx3-ubyte").write_bytes(head + pixels(count * 8, 8).tobytes())
    return folder


def test_digits_are_trained_on_whole(tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert command("--data", digits, "--out", out, *SMALL) == 0
    model, record = open_model(out)
    assert isinstance(model, PixelRNN)
    assert (model.levels, record["notes"]["binarize"], record["task"]["side"]) == (2, "threshold", 8)
    (stage,) = Checkpoint.read(out).stages
    assert (stage["patch"], stage["mirror"], stage["batch"]) == (8, False, 4)
    result = json.loads((out / "result.json").read_text())
    test = result["test"]
    assert test["nats_per_image"] == pytest.approx(-test["bits_per_pixel"] * 64 * np.log(2))
    assert (test["images"], test["pixels"]) == (5, 5 * 64)
    said = capsys.readouterr().out
    assert f"{test['nats_per_image']:.3f} +- {test['nats_per_image_standard_error']:.3f} nats per image" in said
    lines = read_metrics(out / METRICS)
    assert [line["rate"] for line in lines] == pytest.approx([2.525e-3, 5e-5])
    best = max(line["validation"] for line in lines)
    assert f"validation, 4 tiles: {best:.4f} nats per image (log-likelihood; higher is better)" in said
    assert lines[0]["train"] == pytest.approx(-lines[0]["loss"] * 64)


def test_sampled_digits_have_another_likelihood(tmp_path: Path, digits: Path) -> None:
    found = []
    for how in ("threshold", "sample"):
        assert command("--data", digits, "--out", tmp_path / how, "--no-pictures", "--binarize", how, *SMALL) == 0
        found.append(json.loads((tmp_path / how / "result.json").read_text())["test"]["nats_per_image"])
    assert found[0] != found[1]


def test_goes_on_from_a_trained_model(tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, data = tmp_path / "first", tmp_path / "second", ("--data", digits, "--no-pictures")
    assert command(*data, "--out", first, "--binarize", "sample", *SMALL) == 0
    assert command(*data, "--out", second, "--load", first, "--steps", "2") == 0
    record = open_model(second).record
    assert (record["config"]["hidden_size"], record["notes"]["binarize"]) == (2, "sample")
    said = commands.refused(capsys, "train-ride", "--load", first, "--out", tmp_path / "third")
    assert "MCGSMImage, got a PixelRNN" in said


def test_pictures_of_8_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Large ones are cut into patches; the likelihood is told as the literature does."""
    for place in range(3):
        picture(tmp_path / "images" / f"{place}.png", pixels(40, 48, 3, seed=place))
    small = ["--levels", "256", "--variant", "row", "--layers", "2", "--color", "--tile", "8", "--hidden", "6"]
    assert command("--data", tmp_path / "images", "--out", tmp_path / "run", "--no-pictures", *SMALL, *small) == 0
    model = open_model(tmp_path / "run").model
    assert (model.levels, model.channels, model.config()["variant"], model.config()["num_layers"]) == (256, 3, "row", 2)
    assert (
        Checkpoint.read(tmp_path / "run").stages[0]["patch"] == 24
    )  # of the columns, three quarters are for other parts
    test = json.loads((tmp_path / "run" / "result.json").read_text())["test"]
    assert test["bits_per_dimension"] == pytest.approx(-test["bits_per_pixel"] / 3)
    assert (
        f"{test['bits_per_dimension']:.4f} bits per dimension: the code of an 8-bit channel" in capsys.readouterr().out
    )


def test_a_run_is_continued_by_its_own_command(
    tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--data", digits, "--out", tmp_path / "run", "--no-pictures", *SMALL) == 0
    assert command("--out", tmp_path / "run", "--resume", "--no-pictures") == 0
    said = commands.refused(capsys, "train-ride", "--out", tmp_path / "run", "--resume")
    assert f"expected a run of train-ride in {tmp_path / 'run'}, got one of train-pixelrnn" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "expected --data, a folder of pictures or one with MNIST's files, got none"),
        (
            ["--data", "digits", "--levels", "256", "--binarize", "sample"],
            "expected options of --levels 256, got --binarize",
        ),
        (["--data", "digits", "--levels", "16"], "argument --levels: invalid choice"),
        (["--data", "digits", "--kernel", "4"], "kernel_size"),
        (
            ["--data", "digits", "--minutes", "1", "--steps", "2"],
            "expected --minutes alone to say how long, got --steps",
        ),
        (["--data", "digits", "--patch", "9"], "expected an image of at least 9x9, got (8, 8)"),
        (["--data", "digits", "--color"], "expected color=False"),
        (["--data", "deadleaves"], "expected binarize=None for deadleaves, whose pixels are no integers"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("digits")
def test_refuses_in_one_line(
    options: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in commands.refused(capsys, "train-pixelrnn", "--out", "run", *options)
    assert not (tmp_path / "run").exists()
