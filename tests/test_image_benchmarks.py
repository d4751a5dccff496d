"""The benchmarks on photographs and on MNIST, small: they train, score, keep, go on with what is missing, and compare image by image."""

from __future__ import annotations

import dataclasses
import gzip
import json
import math
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from benchmarks import image_models, mnist, photographs, textures
from benchmarks.harness import Row
from spatial_lstm.image_models import RIDE, LinearGaussian, PixelRNN

SMALL = photographs.Budget(2, 2, 2, 2, 12, 2)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder like that of BSDS300."""
    random = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 3)):
        (tmp_path / "pictures" / part).mkdir(parents=True)
        for k in range(count):
            pixels = random.integers(0, 256, (66, 70, 3), dtype=np.uint8)
            PIL.Image.fromarray(pixels).save(tmp_path / "pictures" / part / f"{k}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize("budget", ["cells", "paper"])
def test_photographs(
    budget: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(photographs.BUDGETS, budget, SMALL)
    small = {
        "RESULTS": tmp_path,
        "RUNS": tmp_path / "runs",
        "SIDES": (64, None),
        "GROWTH": (64,),
        "SHOWN_GROWTH": ("64",),
    }
    mcgsm = {"MCGSM_SIZES": (2, 2, 2), "MCGSM": {**photographs.MCGSM, "steps": 2, "finetune": 1}}
    for name, value in {**small, **mcgsm}.items():
        monkeypatch.setattr(photographs, name, value)
    monkeypatch.setattr(sys, "argv", ["photographs", "--data", str(pictures), "--budget", budget])
    photographs.main()
    said = capsys.readouterr().out
    table = image_models.report(tmp_path)
    names = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][2:]
    if budget == "cells":
        assert names == [*(f"{cell}, 1 layer" for cell in photographs.CELLS), "spatial, 2 layers", "stable, 2 layers"]
    else:
        assert names == ["linear-Gaussian", "MCGSM", "RIDE, 1 layer", "RIDE, 2 layers", "ensemble, 2 layers"]
        assert (tmp_path / "photographs.png").read_bytes().startswith(b"\x89PNG")
        assert "| BSDS300, ensemble, 2 layers | " in image_models.section(tmp_path)
    assert said.count("seed 0") == len(names)
    rows = json.loads((tmp_path / f"photographs_{budget}.json").read_text())["rows"]
    assert all(len(bits) == 3 for row in rows for bits in row["bits"].values())
    photographs.main()
    assert "seed 0" not in capsys.readouterr().out
    if budget == "paper":
        longer = dataclasses.replace(SMALL, steps=1, patch=64, batch=1, after="paper")
        go_on(monkeypatch, "tiles", longer, pictures)
        rows = json.loads((tmp_path / "photographs_tiles.json").read_text())["rows"]
        assert [row["model"] for row in rows] == names[2:]
        assert [row["steps"] for row in rows] == [3, 5, 5]  # of all models that came before
        go_on(monkeypatch, "deeper", dataclasses.replace(longer, after="tiles", depth=3), pictures)
        rows = json.loads((tmp_path / "photographs_deeper.json").read_text())["rows"]
        found = {row["model"]: (row["steps"], row["parameters"]) for row in rows}
        assert [steps for steps, _ in found.values()] == [4, 6, 6, 6, 6]
        assert found["RIDE, 3 layers"][1] > found["RIDE, 2 layers"][1]
        last = dataclasses.replace(longer, after="deeper", depth=3, symmetries=True)
        go_on(monkeypatch, "symmetries", last, pictures)
        report = image_models.report(tmp_path)
        assert report.count("| RIDE, 2 layers |") == 3
        assert all(report.count(f"| {model}, symmetries |") == 1 for model in found)


def go_on(monkeypatch: pytest.MonkeyPatch, budget: str, small: photographs.Budget, pictures: Path) -> None:
    monkeypatch.setitem(photographs.BUDGETS, budget, small)
    monkeypatch.setattr(sys, "argv", ["photographs", "--data", str(pictures), "--budget", budget])
    photographs.main()


def test_a_model_that_overflows_is_counted() -> None:
    torch.manual_seed(0)
    model = RIDE(hidden_size=3, components=2, features=2, cell="spatial")
    torch.nn.init.constant_(model.lstm.get_parameter("bias_l0"), 8.0)
    assert photographs.largest_c(model, torch.rand(1, 1, 160, 160)) is None
    row: Row = {"model": "a", "bits": {"whole": [1.0, None, 3.0]}}
    assert photographs.mean_bits([row], "whole") == "2.000 (1 of 3 not finite)"


def test_bits_are_those_of_the_model() -> None:
    model = LinearGaussian()
    image = torch.rand(1, 70, 140)
    model.prepare(image[None])
    assert photographs.bits(model, image, None) == pytest.approx(float(model.log_prob(image[None]).bits_per_pixel))
    halves = torch.stack([image[:, :64, :64], image[:, :64, 64:128]])
    assert photographs.bits(model, image, 64) == pytest.approx(model.bits_per_pixel(halves))


def test_gains_are_paired() -> None:
    """Images differ by far more than models do; the interval is that of the differences, after averaging over seeds."""
    base: list[Row] = [{"bits": {"64": [1.0, 5.0, 9.0]}}, {"bits": {"64": [1.2, 5.2, 9.2]}}]
    rows: list[Row] = [{"bits": {"64": [1.2, 5.2, 9.5]}}]
    gain, half = photographs.paired(rows, base, "64")
    assert gain == pytest.approx((0.1 + 0.1 + 0.4) / 3)
    assert half == pytest.approx(1.96 * math.sqrt(0.03) / math.sqrt(3))
    lost: list[Row] = [{"bits": {"64": [None, *row["bits"]["64"]]}} for row in rows]
    assert photographs.paired(lost, [{"bits": {"64": [7.0, *row["bits"]["64"]]}} for row in base], "64") == (gain, half)


def write_idx(path: Path, images: np.ndarray) -> None:
    shape = b"".join(extent.to_bytes(4, "big") for extent in images.shape)
    path.write_bytes(gzip.compress(bytes([0, 0, 8, images.ndim]) + shape + images.tobytes()))


def test_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    for name, count in (("train", 24), ("t10k", 6)):
        images = random.integers(0, 256, (count, 7, 7), dtype=np.uint8)
        write_idx(tmp_path / f"{name}-images-idx3-ubyte.gz", images)
    monkeypatch.setattr(mnist, "RESULTS", tmp_path)
    monkeypatch.setattr(mnist, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(mnist, "SHOWN", 2)
    small = {name: {**options, "hidden_size": 2} for name, options in mnist.MODELS.items()}
    monkeypatch.setattr(mnist, "MODELS", small)
    options = ["--data", str(tmp_path), "--steps", "3", "--binarize", "sample", "threshold"]
    monkeypatch.setattr(sys, "argv", ["mnist", *options])
    mnist.main()
    table = image_models.report(tmp_path)
    assert table.count("| sample |") == table.count("| threshold |") == len(small)
    assert "80.75" in table
    assert "| binary MNIST, Diagonal BiLSTM, 1 layer of 32 | " in image_models.section(tmp_path)
    rows = json.loads((tmp_path / "mnist.json").read_text())["rows"]
    assert all(20 < row["nats_per_image"] < 50 for row in rows)  # noise has 7 * 7 ln 2 = 34
    assert len(list(tmp_path.glob("*.png"))) == 2 * len(small)
    capsys.readouterr()
    mnist.main()
    assert json.loads((tmp_path / "mnist.json").read_text())["rows"] == rows


def test_textures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    small = {"RESULTS": tmp_path, "RUNS": tmp_path / "runs", "HIDDEN": 2, "COMPONENTS": 2, "FEATURES": 2, "SIDE": 9}
    for name, value in small.items():
        monkeypatch.setattr(textures, name, value)
    monkeypatch.setattr(sys, "argv", ["textures", "--steps", "2"])
    textures.main()
    assert capsys.readouterr().out.count("\n| ") == 4
    assert (tmp_path / "textures.png").read_bytes().startswith(b"\x89PNG")
    assert image_models.report(tmp_path).count("| gravel |") == 1


def test_nats_are_the_mean_over_images() -> None:
    from spatial_lstm.image_models.data import Splits

    model = PixelRNN(hidden_size=2)
    images = [torch.randint(2, (1, 5, 6)).float() for _ in range(7)]
    found = mnist.score(model, Splits("some", images, images, images))
    nats = torch.cat([-model.log_prob(image[None]).nats for image in images])
    assert found["nats_per_image"] == pytest.approx(nats.mean().item())
    assert found["standard_error"] == pytest.approx(nats.std().item() / math.sqrt(7))
