"""The command that trains RIDE: what it writes, what it refuses, how it is interrupted and goes on."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from spatial_lstm.cli import train_ride
from spatial_lstm.image_models import RIDE, ColorRIDE, LinearGaussian, MCGSMImage, data
from spatial_lstm.image_models.training import load_model, open_model
from spatial_lstm.training import BEST, LAST, METRICS, Checkpoint, DivergedError, Trainer, files, read_metrics
from tests import commands
from tests.commands import picture, pixels

SMALL_SIZE = ["--hidden", "3", "--components", "2", "--scales", "2", "--features", "2"]
SMALL_RUN = [*SMALL_SIZE, "--steps", "3", "--batch", "4", "--validate-every", "2", "--patch", "12"]


def command(*options: str | Path) -> int:
    return commands.command("train-ride", *options)


def refused(capsys: pytest.CaptureFixture[str], *options: str | Path) -> str:
    return commands.refused(capsys, "train-ride", *options)


@pytest.fixture(autouse=True)
def small_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def loader(seed: int, color: bool) -> data.Splits:
        return data.generated(train=2, held_out=1, side=48, seed=seed)

    monkeypatch.setitem(data.NAMES, "deadleaves", loader)


def test_trains_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert command("--out", out, *SMALL_RUN) == 0
    written = {path.name for path in out.iterdir()}
    assert written == {LAST, BEST, METRICS, "result.json", "curve.png", "samples.png", "inpainting.png"}
    result = json.loads((out / "result.json").read_text())
    bits = result["bits_per_pixel"]
    said = capsys.readouterr().out
    assert f"validation, 1 tiles: {bits['validation']:.4f} bits per pixel (log2 of a pixel's density" in said
    assert f"{bits['test']:.4f} bits per pixel: mean log2 of a pixel's density" in said
    assert (result["data"]["name"], result["steps"], result["options"]["hidden"]) == ("deadleaves", 3, 3)
    assert result["data"]["test"]["sources"] == ["dead leaves of seed 0[3:4]"]
    assert (result["test"]["tile"], result["test"]["tiles"], result["test"]["pixels"]) == (48, 1, 46 * 44)
    assert {"python", "torch", "spatial_lstm"} == result["versions"].keys()
    assert (result["model"], result["threads"] >= 1) == ("RIDE", True)
    assert result["seconds"] == round(Checkpoint.read(out).state.seconds, 3)
    assert command("--out", out, "--resume", "--no-pictures") == 0


def test_a_run_is_lost_only_where_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--out", tmp_path, "--no-pictures", *SMALL_RUN) == 0
    before = (tmp_path / BEST).read_bytes(), (tmp_path / METRICS).read_bytes()
    said = refused(capsys, "--out", tmp_path, *SMALL_RUN)
    assert "expected a folder without a run" in said
    assert "add --resume to continue it or --overwrite to lose it, or choose another --out" in said
    assert ((tmp_path / BEST).read_bytes(), (tmp_path / METRICS).read_bytes()) == before
    assert command("--out", tmp_path, "--overwrite", "--no-pictures", "--seed", "1", *SMALL_RUN) == 0
    assert (tmp_path / BEST).read_bytes() != before[0]
    assert "not allowed with" in refused(capsys, "--out", tmp_path, "--overwrite", "--resume")


def interrupt(monkeypatch: pytest.MonkeyPatch, out: Path, *options: str | Path) -> None:
    """Begin a run and interrupt it in its third step."""
    step = Trainer._step

    def interrupted(self: Trainer[Any], *args: Any) -> None:
        if self.state.total == 2:
            raise KeyboardInterrupt
        step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupted)
        assert command("--out", out, "--checkpoint-seconds", "0", "--no-pictures", *SMALL_RUN, *options) == 130


def test_an_interrupted_run_says_how_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(monkeypatch, tmp_path)
    assert f"train-ride --resume --out {tmp_path} continues" in capsys.readouterr().err
    assert command("--out", tmp_path, "--resume", "--no-pictures") == 0
    assert Checkpoint.read(tmp_path).state.total == 3


@pytest.mark.parametrize(("broken", "named"), [((os, "fsync"), LAST), ((Path, "open"), METRICS)])
def test_a_run_on_a_full_disk_says_how_to_resume(
    broken: tuple[object, str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    step = Trainer._step

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:

        def filled(self: Trainer[Any], *args: Any) -> None:
            if self.state.total == 2:
                patch.setattr(*broken, full)
            step(self, *args)

        patch.setattr(Trainer, "_step", filled)
        options = ["--checkpoint-seconds", "0" if named == LAST else "1000", "--no-pictures", *SMALL_RUN]
        assert command("--out", tmp_path, *options) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said == (
        f"train-ride: [Errno {errno.ENOSPC}] No space left on device: '{tmp_path / named}'; "
        f"python -m spatial_lstm train-ride --resume --out {tmp_path} continues from the last checkpoint"
    )
    assert {path.name for path in tmp_path.iterdir()} == {LAST, BEST, METRICS}
    assert Checkpoint.read(tmp_path).state.total == 2
    assert command("--out", tmp_path, "--resume", "--no-pictures") == 0
    assert [line["step"] for line in read_metrics(tmp_path / METRICS)] == [2, 3]


def test_a_full_disk_before_the_first_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said = refused(capsys, "--out", tmp_path / "run", "--no-pictures", *SMALL_RUN)
    assert said == f"train-ride: [Errno {errno.ENOSPC}] No space left on device: '{tmp_path / 'run' / LAST}'"
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_keeps_its_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(monkeypatch, tmp_path)
    said = refused(capsys, "--out", tmp_path, "--resume", "--hidden", "4")
    assert f"expected the options that {tmp_path} was begun with, --hidden 3, got 4" in said
    assert "--extended False, got True" in refused(capsys, "--out", tmp_path, "--resume", "--extended")
    assert "--limit None, got 1" in refused(capsys, "--out", tmp_path, "--resume", "--limit", "1")
    same = ["--data", "deadleaves", "--seed", "0", "--hidden", "3"]
    assert command("--out", tmp_path, "--resume", "--no-pictures", *same) == 0


def test_a_resumed_run_keeps_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder is known by its images, wherever it is; where a run has not noted them, by its name."""
    out, first, moved = tmp_path / "run", tmp_path / "pictures", tmp_path / "moved"
    write_pictures(first)
    monkeypatch.chdir(tmp_path)
    interrupt(monkeypatch, out, "--data", "pictures")
    monkeypatch.chdir(tmp_path.parent)
    said = refused(capsys, "--out", out, "--resume", "--data", "deadleaves")
    assert "expected the data that the run was begun with, got other images in deadleaves" in said
    first.rename(moved)
    assert "expected a folder of pictures" in refused(capsys, "--out", out, "--resume")
    assert command("--out", out, "--resume", "--no-pictures", "--data", moved) == 0
    content = files.read(out / LAST)
    del content["task"]["data"]
    files.save(out / LAST, content)
    moved.rename(first)
    assert f"--data {moved}, got {first}" in refused(capsys, "--out", out, "--resume", "--data", first)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--limit", "0"], "argument --limit: expected a whole number of at least 1, got 0"),
        (["--steps", "0"], "argument --steps: expected a whole number of at least 1, got 0"),
        (["--hidden", "many"], "argument --hidden: expected a whole number of at least 1, got many"),
        (["--rate", "0"], "argument --rate: expected a number above 0, got 0"),
        (["--final-rate", "nan"], "argument --final-rate: expected a number, got nan"),
        (["--seed", "-1"], "argument --seed: expected a whole number of at least 0, got -1"),
        (["--checkpoint-seconds", "-1"], "argument --checkpoint-seconds: expected a number of at least 0, got -1"),
        (["--neighborhood", "4"], "train-ride: expected an odd neighborhood size of at least 3, got 4"),
        (["--color", "--multiscale"], "train-ride: expected --color or --multiscale, got both"),
        (["--patch", "49"], "train-ride: expected an image of at least 49x49, got (48, 48)"),
        (["--patch", "4"], "train-ride: expected a patch side of at least 5 for a RIDE, got 4"),
        (
            ["--multiscale", "--patch", "13"],
            "a patch side of at least 10, divisible by 2, for a MultiscaleRIDE, got 13",
        ),
        (
            ["--multiscale", "--schedule", "sgd"],
            "a patch side of at least 10, divisible by 2, for a MultiscaleRIDE, got 8",
        ),
        (["--resume"], "train-ride: expected a checkpoint"),
        (["--data", "dedleaves"], "train-ride: expected a folder of pictures or one of deadleaves"),
        (["--color", "--data", "grass"], "train-ride: expected color=False for the textures"),
        (["--device", "cuda"], "train-ride: expected a GPU"),
        (["--minutes", "1", "--steps", "5"], "train-ride: expected --minutes alone to say how long, got --steps"),
        (["--no-mirror", "--symmetries"], "train-ride: expected --symmetries or --no-mirror, got both"),
        (["--epochs", "2"], "train-ride: expected options of --schedule adam, got --epochs"),
        (["--schedule", "sgd", "--rate", "1"], "train-ride: expected options of --schedule sgd, got --rate"),
        (["--model", "mcgsm"], "train-ride: expected options of --model mcgsm, got --hidden"),
        (["--cell", "stable", "--extended"], "train-ride: expected extended"),
        (["--validation", "nowhere"], "train-ride: expected a folder of pictures or one of deadleaves"),
    ],
)
def test_refuses_in_one_line(
    options: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert said in refused(capsys, "--out", tmp_path / "a", *SMALL_SIZE, *options)
    assert not (tmp_path / "a").exists()


def test_constant_images_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = data.generated(train=2, held_out=1, side=48)
    flat = data.Splits("flat", [image * 0 for image in splits.train], splits.validation, splits.test)
    monkeypatch.setitem(data.NAMES, "deadleaves", lambda seed, color: flat)
    assert "that vary, got constants" in refused(capsys, "--out", tmp_path, *SMALL_RUN)


def test_an_error_of_the_program_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a shape is wrong")

    monkeypatch.setattr(Trainer, "_step", broken)
    with pytest.raises(ValueError, match="a shape is wrong"):
        command("--out", tmp_path, *SMALL_RUN)


def test_divergence_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def diverge(*_: object) -> None:
        raise DivergedError("training diverged by step 1")

    monkeypatch.setattr(Trainer, "_step", diverge)
    assert command("--out", tmp_path, *SMALL_RUN) == 1
    assert "train-ride: training diverged by step 1\n" in capsys.readouterr().err


def test_matplotlib_is_missed_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "train-ride needs matplotlib, which is not installed" in refused(capsys, "--out", tmp_path / "a", *SMALL_RUN)
    assert not (tmp_path / "a").exists()
    assert command("--out", tmp_path / "a", "--no-pictures", *SMALL_RUN) == 0


def test_output_that_is_no_terminal_has_no_bars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--out", tmp_path, "--no-pictures", *SMALL_RUN) == 0
    assert capsys.readouterr().err == ""


def test_the_model_file_has_its_record(tmp_path: Path) -> None:
    """One file says what the model is, what it was trained on and how, and what it scores; moved elsewhere, it still does."""
    assert command("--out", tmp_path / "run", "--no-pictures", *SMALL_RUN) == 0
    (tmp_path / "run" / BEST).rename(tmp_path / "model.pt")
    model, record = open_model(tmp_path / "model.pt")
    assert isinstance(model, RIDE)
    assert (record["kind"], record["config"]["hidden_size"], record["config"]["cell"]) == ("RIDE", 3, "stable")
    assert record["task"]["record"]["train"]["sources"] == ["dead leaves of seed 0[0:2]"]
    assert record["notes"]["steps"] == 3
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert record["result"] == result
    assert record["score"] == result["bits_per_pixel"]["validation"]
    assert record["unit"] == "bits per pixel"
    assert record["version"] == result["versions"]["spatial_lstm"]


@pytest.mark.parametrize(
    ("options", "kind", "lines"),
    [
        (["--model", "mcgsm", "--finetune", "1", "--finetune-pixels", "500", "--steps", "3"], MCGSMImage, 2),
        (["--model", "linear"], LinearGaussian, 1),
    ],
    ids=["mcgsm", "linear"],
)
def test_trains_what_ride_is_compared_with(tmp_path: Path, options: list[str], kind: type, lines: int) -> None:
    small = SMALL_SIZE[2:] if kind is MCGSMImage else []
    assert command("--out", tmp_path, *options, *small, "--neighborhood", "3") == 0
    model = load_model(tmp_path)
    assert isinstance(model, kind)
    assert model.border == 1
    assert len(read_metrics(tmp_path / METRICS)) == lines
    assert (tmp_path / "curve.png").is_file()
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["steps"] == (3 if kind is MCGSMImage else 0)
    assert command("--out", tmp_path, "--resume", "--no-pictures") == 0


@pytest.mark.parametrize(
    ("options", "cell"),
    [([], "stable"), (["--extended"], "spatial"), (["--cell", "spatial"], "spatial"), (["--cell", "graves"], "graves")],
)
def test_cells(tmp_path: Path, options: list[str], cell: str) -> None:
    assert command("--out", tmp_path, "--no-pictures", *SMALL_RUN, *options) == 0
    model = load_model(tmp_path)
    assert isinstance(model, RIDE)
    assert model.lstm.cell_type == cell


def test_trains_by_the_clock(tmp_path: Path) -> None:
    small = [*SMALL_SIZE, "--patch", "12", "--batch", "4", "--no-pictures"]
    assert command("--out", tmp_path, *small, "--minutes", "1e-6", "--greedy", "--layers", "2") == 0
    assert Checkpoint.read(tmp_path).state.total == 2  # a step each
    assert [stage["minutes"] for stage in Checkpoint.read(tmp_path).stages] == [5e-7, 5e-7]


def test_threads_are_kept_and_may_be_told_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[object] = []
    monkeypatch.setattr("spatial_lstm.training.set_threads", lambda count, work: wanted.append(count) or 5)
    interrupt(monkeypatch, tmp_path, "--threads", "3")
    assert command("--out", tmp_path, "--resume", "--no-pictures", "--threads", "2") == 0
    assert wanted == [3, 2]
    assert json.loads((tmp_path / "result.json").read_text())["threads"] == 5
    assert command("--out", tmp_path / "auto", "--no-pictures", *SMALL_RUN) == 0
    assert wanted[2:] == [None]


def test_trains_on_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which files are in which part is written down; relative paths hold from another working directory."""
    for place in range(3):
        picture(tmp_path / "images" / f"{place}.png", pixels(64, 64, seed=place))
    picture(tmp_path / "choose" / "v.png", pixels(64, 64, seed=8))
    picture(tmp_path / "report" / "t.png", pixels(64, 64, seed=9))
    monkeypatch.chdir(tmp_path)
    folders = ["--data", "images", "--validation", "choose", "--test", "report/t.png"]
    interrupt(monkeypatch, Path("run"), *folders)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert command("--out", "../run", "--resume", "--no-pictures") == 0
    record = json.loads((tmp_path / "run" / "result.json").read_text())["data"]
    assert [record[part]["sources"] for part in data.PARTS] == [["0.png", "1.png", "2.png"], ["v.png"], ["t.png"]]
    assert commands.command("score", tmp_path / "run", "--data", tmp_path / "report") == 0


def write_pictures(folder: Path) -> None:
    from PIL import Image

    pixels = (data.dead_leaves(3, 64, 128, seed=0)[:, 0].clamp(0, 0.999) * 256).byte().permute(1, 2, 0)
    folder.mkdir()
    Image.fromarray(pixels.numpy()).save(folder / "a.png")


def test_trains_in_color(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures")
    small = ["--data", tmp_path / "pictures", "--color", "--no-pictures", "--out", tmp_path / "run"]
    assert command(*SMALL_RUN, *small) == 0
    assert isinstance(load_model(tmp_path / "run" / BEST), ColorRIDE)


def test_goes_on_from_a_trained_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert command("--out", first, "--gray", "mean", "--no-pictures", *SMALL_RUN) == 0
    hardly = ("--steps", "1", "--rate", "1e-9", "--patch", "24", "--batch", "2")
    options = ("--load", first, *hardly, "--seed", "1", "--no-pictures")
    assert command("--out", second, *options) == 0
    before, after = load_model(first).state_dict(), load_model(second).state_dict()
    assert all(torch.allclose(after[name], before[name], atol=1e-7) for name in before)  # the whitening, too
    record = open_model(second).record
    assert (record["notes"]["gray"], record["notes"]["load"], record["notes"]["hidden"]) == ("mean", str(first), None)
    assert command("--out", second, "--resume", "--no-pictures") == 0
    capsys.readouterr()
    said = refused(capsys, "--out", tmp_path / "third", *options, "--hidden", "4", "--color")
    assert "expected options of --load, which brings its own model, got --color, --hidden" in said
    assert "--hidden None" in refused(capsys, "--out", second, "--resume", "--hidden", "4")


def test_says_which_held_out_images_the_model_knows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in range(8):
        picture(tmp_path / ("known" if place < 4 else "new") / f"{place}.png", pixels(40, 48, seed=place))
    first = tmp_path / "first"
    assert command("--data", tmp_path / "known", "--out", first, "--no-pictures", *SMALL_RUN) == 0
    options = ("--load", first, "--steps", "1", "--batch", "2", "--no-pictures")
    assert command("--data", tmp_path / "known", "--out", tmp_path / "same", *options) == 0
    assert "by the model of --load" not in capsys.readouterr().out
    other = ("--data", tmp_path / "new", "--test", tmp_path / "known", "--out", tmp_path / "other")
    assert command(*other, *options) == 0
    note = "test: 4 of 4 images were trained on, as a whole or in part, by the model of --load"
    assert note in capsys.readouterr().out
    assert note in json.loads((tmp_path / "other" / "result.json").read_text())["data"]["notes"]


def test_goes_on_from_models_of_its_own_kind_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--out", tmp_path / "linear", "--model", "linear", "--no-pictures") == 0
    capsys.readouterr()
    said = refused(capsys, "--out", tmp_path / "run", "--load", tmp_path / "linear", "--steps", "3")
    assert "expected --load of a RIDE or ColorRIDE or MultiscaleRIDE or MCGSMImage, got a LinearGaussian" in said
    assert "nothing" in refused(capsys, "--out", tmp_path / "run", "--load", tmp_path / "nothing")
    assert not (tmp_path / "run").exists()


def test_every_option_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command("--help")
    said = capsys.readouterr().out
    assert all("--" + name.replace("_", "-") in said for name in train_ride.DEFAULTS)
    assert "(default: 4000)" in said
