"""The command that scores a trained model on pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from spatial_lstm.image_models import Ensemble, LogProb, PixelRNN, data
from spatial_lstm.image_models.scoring import score_images
from spatial_lstm.training import BEST, LAST, files
from tests.commands import command, model_file, picture, pixels, refused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three gray pictures of two sizes."""
    for name, size in (("a", (20, 24)), ("b", (18, 19)), ("c", (20, 24))):
        picture(tmp_path / "pictures" / f"{name}.png", pixels(*size, seed=ord(name)))
    return tmp_path / "pictures"


def score(tmp_path: Path, *arguments: str | Path, status: int = 0) -> dict[str, Any]:
    file = tmp_path / "score.json"
    assert command("score", tmp_path / "run", "--json", file, "--overwrite", *arguments) == status
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_whole_images(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = model_file(tmp_path / "run", "ride", steps=12)
    found = score(tmp_path, "--data", folder)
    part = data.load_part(folder, seed=0)
    expected = score_images(model, part.images, part.names)
    assert {name: found[name] for name in expected.summary()} == expected.summary()
    assert [image["name"] for image in found["per_image"]] == ["a.png", "b.png", "c.png"]
    assert [image["nats"] for image in found["per_image"]] == [image.nats for image in expected.images]
    assert (found["images"], found["tile"], found["pixels"]) == (3, None, 2 * 18 * 20 + 16 * 15)
    assert found["model"]["kind"] == "RIDE"
    said = capsys.readouterr().out
    assert "RIDE for gray images, 309 parameters, 12 steps" in said
    assert f"{found['bits_per_pixel']:.4f} +- {found['standard_error']:.4f} bits per pixel: mean log2 of" in said
    assert "higher is better" in said
    assert f"{found['bits_per_dimension']:.4f} bits per dimension: at most the code of an 8-bit channel" in said


def test_a_file_that_is_there_is_kept(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model_file(tmp_path / "run", "ride")
    file = tmp_path / "score.json"
    file.write_text("kept")
    assert "expected --json to be new" in refused(capsys, "score", tmp_path / "run", "--data", folder, "--json", file)
    assert file.read_text() == "kept"


def test_tiles_and_ensemble(tmp_path: Path, folder: Path) -> None:
    model = model_file(tmp_path / "run", "ride")
    part = data.load_part(folder, seed=0)
    found = score(tmp_path, "--data", folder, "--tile", "9", "--ensemble", "--limit", "2")
    expected = score_images(Ensemble(model), part.images[:2], tile=9)
    assert found["bits_per_pixel"] == expected.bits_per_pixel
    assert (found["images"], found["tiles"], found["ensemble"]) == (2, 8, True)


def test_tiles_with_true_states(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = model_file(tmp_path / "run", "ride")
    part = data.load_part(folder, seed=0)
    found = score(tmp_path, "--data", folder, "--tile", "9", "--states", "true")
    assert found["bits_per_pixel"] == score_images(model, part.images, tile=9, states="true").bits_per_pixel
    zero = score(tmp_path, "--data", folder, "--tile", "9")
    assert zero["pixels"] == found["pixels"]
    assert zero["bits_per_pixel"] != found["bits_per_pixel"]
    assert "3 images in tiles of 9x9, true states, 420 pixels scored" in capsys.readouterr().out
    model_file(tmp_path / "run", "binary")
    said = refused(capsys, "score", tmp_path / "run", "--data", folder, "--tile", "9", "--states", "true")
    assert "expected --states zero for a PixelRNN, which begins anew at every tile, got true" in said


def test_tiles_too_large_for_some(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model_file(tmp_path / "run", "ride")
    assert score(tmp_path, "--data", folder, "--tile", "20")["images"] == 2
    assert "1 of 3 images left out, smaller than 20x20: b.png" in capsys.readouterr().out
    said = refused(capsys, "score", tmp_path / "run", "--data", folder, "--tile", "21")
    assert "expected images of at least 21x21, got a.png, b.png, c.png, smaller" in said


def test_binary_images(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = model_file(tmp_path / "run", "binary")
    found = score(tmp_path, "--data", folder)
    part = data.load_part(folder, binarize="threshold")
    nats = [model.log_prob(image[None]).nats.item() for image in part.images]
    assert found["nats_per_image"] == pytest.approx(-sum(nats) / 3)
    assert f"{found['nats_per_image']:.3f} +- " in capsys.readouterr().out
    sampled = score(tmp_path, "--data", folder, "--binarize", "sample", "--seed", "3")
    assert sampled["nats_per_image"] != found["nats_per_image"]
    assert [(told["binarize"], told["seed"], told["gray"]) for told in (found, sampled)] == [
        ("threshold", 0, "luma"),
        ("sample", 3, "luma"),
    ]


def test_discrete_images(tmp_path: Path, folder: Path) -> None:
    """Noise changes no level; 8 bits have a code of as many bits as the log-likelihood."""
    model_file(tmp_path / "run", "256")
    found = score(tmp_path, "--data", folder)
    assert found["bits_per_dimension"] == -found["bits_per_pixel"]
    assert score(tmp_path, "--data", folder, "--seed", "7")["bits_per_pixel"] == found["bits_per_pixel"]


def test_images_are_read_as_in_training(tmp_path: Path) -> None:
    notes = {"gray": "mean", "seed": 5}
    model = model_file(tmp_path / "run", "ride", notes=notes)
    path = picture(tmp_path / "a.png", pixels(20, 24, 3))
    as_trained = score_images(model, data.load_part(path, gray="mean", seed=5).images).bits_per_pixel
    assert score(tmp_path, "--data", path)["bits_per_pixel"] == as_trained
    as_told = score_images(model, data.load_part(path, gray="luma", seed=1).images).bits_per_pixel
    assert score(tmp_path, "--data", path, "--gray", "luma", "--seed", "1")["bits_per_pixel"] == as_told


def test_channels_are_made_to_fit_with_a_word(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model_file(tmp_path / "run", "color")
    assert score(tmp_path, "--data", folder)["images"] == 3
    assert "3 of 3 pictures: gray, repeated in three equal channels" in capsys.readouterr().out
    model_file(tmp_path / "run", "ride")
    path = picture(tmp_path / "a.png", pixels(20, 24, 3))
    score(tmp_path, "--data", path)
    assert "1 of 1 pictures: color turned to gray (luma)\n" in capsys.readouterr().out


def test_files_that_are_none_are_told_once(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model_file(tmp_path / "run", "ride")
    (folder / "d.png").write_bytes(b"no picture")
    assert score(tmp_path, "--data", folder)["images"] == 3
    said = capsys.readouterr()
    assert "1 of 4 files skipped: d.png" in said.out
    assert said.err == ""


def test_odd_sides_are_made_even_with_a_word(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model_file(tmp_path / "run", "multiscale")
    assert score(tmp_path, "--data", folder)["pixels"] == 2 * 16 * 16 + 14 * 10
    assert "1 of 3 images lose their last row or column: sides have to be even" in capsys.readouterr().out


def test_training_images_are_told(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Known by where they are, whichever folder was named."""
    sources = {"train": {"sources": ["pictures/a.png", "pictures/b.png[:, 0:8]", "c.png"]}}
    record = {"notes": {"data": str(tmp_path)}, "task": {"record": sources}}
    model_file(tmp_path / "run", "ride", **record)
    score(tmp_path, "--data", folder)
    assert "2 of 3 images were trained on, as a whole or in part" in capsys.readouterr().out
    score(tmp_path, "--data", folder / "c.png")
    assert "trained on" not in capsys.readouterr().out


@pytest.fixture
def broken(tmp_path: Path) -> None:
    """A model whose likelihoods are no numbers."""
    model = model_file(tmp_path / "run", "mcgsm")
    with torch.no_grad():
        model.get_parameter("mcgsm.eta").fill_(float("nan"))
    content = files.read(tmp_path / "run" / BEST)
    content["model"]["state"] = model.state_dict()
    files.save(tmp_path / "run" / BEST, content)


@pytest.mark.usefixtures("broken")
def test_what_is_not_finite_is_named(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = score(tmp_path, "--data", folder, status=1)
    assert (found["bits_per_pixel"], found["not_finite"]) == (None, ["a.png", "b.png", "c.png"])
    assert "not finite: 3 of 3 images: a.png, b.png, c.png" in capsys.readouterr().err
    assert score(tmp_path, "--data", folder, "--allow-not-finite", status=1)["images"] == 0


def test_images_that_are_not_finite_may_be_left_out(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model_file(tmp_path / "run", "256")
    monkeypatch.setattr(PixelRNN, "remedy", lambda self: "take another")
    right = PixelRNN.log_prob

    def log_prob(self: PixelRNN, images: torch.Tensor) -> LogProb:
        nats, count = right(self, images)
        return LogProb(nats * float("inf" if images.shape[2] == 18 else 1), count)

    monkeypatch.setattr(PixelRNN, "log_prob", log_prob)
    score(tmp_path, "--data", folder, status=1)
    assert "not finite: 1 of 3 images: b.png; take another" in capsys.readouterr().err
    found = score(tmp_path, "--data", folder, "--allow-not-finite")
    assert (found["images"], found["not_finite"], len(found["per_image"])) == (2, ["b.png"], 3)
    assert found["per_image"][1]["nats"] is None
    assert "2 images whole, each by itself" in capsys.readouterr().out


def test_a_data_set_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = data.generated(train=2, held_out=1, side=24)
    monkeypatch.setitem(data.NAMES, "deadleaves", lambda seed, color: splits)
    model = model_file(tmp_path / "run", "ride")
    found = score(tmp_path, "--data", "deadleaves")
    assert found["bits_per_pixel"] == score_images(model, splits.test).bits_per_pixel
    train = score(tmp_path, "--data", "deadleaves", "--part", "train")
    assert train["bits_per_pixel"] == score_images(model, splits.train).bits_per_pixel


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--data", "pictures"], "expected a checkpoint nowhere, got none"),
        (
            ["pictures", "--data", "pictures"],
            "expected a model file or a run's folder, got pictures, in which there is no",
        ),
        (
            ["pictures/a.png", "--data", "pictures"],
            "expected a checkpoint, got pictures/a.png, which cannot be read: it is damaged",
        ),
        (
            ["other.pt", "--data", "pictures"],
            "expected a checkpoint of an image model, got other.pt, which holds ['weights']",
        ),
        (["line.pt", "--data", "pictures"], "expected a model of one of RIDE"),
        (["torn.pt", "--data", "pictures"], "expected the weights of an image model, got torn.pt"),
        (["run", "--data", "nowhere"], "expected a folder of pictures or one of deadleaves"),
        (["run", "--data", "empty"], "picture in empty, got none"),
        (
            ["run", "--data", "pictures", "--states", "true"],
            "expected --states true with --tile and without --ensemble",
        ),
        (
            ["run", "--data", "pictures", "--binarize", "sample"],
            "expected --binarize for a model of black and white images",
        ),
        (["run", "--data", "pictures", "--tile", "4"], "expected a tile side of at least 5 for a RIDE, got 4"),
        (
            ["scales", "--data", "pictures", "--tile", "11", "--states", "true"],
            "expected a tile side of at least 10, divisible by 2, for a MultiscaleRIDE, got 11",
        ),
        (["run", "--data", "pictures", "--tile", "0"], "argument --tile: expected a whole number of at least 1"),
        (["run", "--data", "pictures", "--threads", "0"], "argument --threads: expected a whole number of at least 1"),
        (["run"], "the following arguments are required: --data"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refuses_in_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model_file(tmp_path / "run", "ride")
    model_file(tmp_path / "scales", "multiscale")
    content = files.read(tmp_path / "run" / BEST)["model"]
    files.save(tmp_path / "other.pt", {"weights": 1})
    files.save(tmp_path / "line.pt", {"model": {"kind": "line"}})
    files.save(tmp_path / "torn.pt", {"model": {**content, "config": {**content["config"], "hidden_size": 4}}})
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    found = refused(capsys, "score", *arguments)
    assert found.startswith("score: ") or "error: " in found
    assert said in found


def test_a_checkpoint_is_a_model_file_too(tmp_path: Path, folder: Path) -> None:
    model_file(tmp_path / "run", "mcgsm")
    found = score(tmp_path, "--data", folder)
    (tmp_path / "run" / BEST).rename(tmp_path / "run" / LAST)
    assert score(tmp_path, "--data", folder)["bits_per_pixel"] == found["bits_per_pixel"]
    assert command("score", tmp_path / "run" / LAST, "--data", folder) == 0
