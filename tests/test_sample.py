"""The command that draws images from a trained model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spatial_lstm.cli import sample as command_module
from spatial_lstm.cli.pictures import sheet, to_pixels
from spatial_lstm.image_models.data import dequantize
from tests.commands import command, model_file, pixels, read, refused


def test_integers_come_back_from_densities() -> None:
    for shape in ((5, 7), (5, 7, 3)):
        values = pixels(*shape)
        assert np.array_equal(to_pixels(dequantize(values, np.random.default_rng(0))), values)
    levels = torch.arange(256).view(1, 16, 16)
    assert np.array_equal(to_pixels(levels / 255), levels[0].numpy())
    assert to_pixels(torch.tensor([-0.5, 1.0, 7.0]).view(1, 1, 3)).tolist() == [[0, 255, 255]]


def test_a_sheet_has_all_pictures() -> None:
    pictures = [pixels(3, 5, seed=k) for k in range(5)]
    found = sheet(pictures, zoom=2)
    tall, wide = 2 * 3 + 2, 2 * 5 + 2
    columns = (found.shape[1] + 2) // wide
    assert found.shape == (-(-5 // columns) * tall - 2, columns * wide - 2)
    for k, picture in enumerate(pictures):
        top, left = k // columns * tall, k % columns * wide
        assert np.array_equal(found[top : top + 6 : 2, left + 1 : left + 10 : 2], picture)
    assert sheet([pixels(28, 28)]).shape == (112, 112)
    assert sheet([pixels(300, 200, 3)]).shape == (300, 200, 3)


@pytest.mark.parametrize(("name", "shape"), [("ride", (9, 6)), ("color", (9, 6, 3)), ("binary", (9, 6))])
def test_single_images_are_those_of_the_sheet(
    tmp_path: Path, name: str, shape: tuple[int, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    model_file(tmp_path / "run", name)
    size = ["--height", "9", "--width", "6", "--count", "3", "--seed", "4"]
    assert command("sample", tmp_path / "run", "--out", tmp_path / "singles", *size) == 0
    names = sorted(path.name for path in (tmp_path / "singles").iterdir())
    assert names == ["sample-0.png", "sample-1.png", "sample-2.png"]
    singles = [read(tmp_path / "singles" / name) for name in names]
    assert [single.shape for single in singles] == [shape] * 3
    assert len({single.tobytes() for single in singles}) == 3
    assert command("sample", tmp_path / "run", "--out", tmp_path / "sheet.png", "--zoom", "1", *size) == 0
    assert np.array_equal(read(tmp_path / "sheet.png"), sheet(singles, 1))
    assert "3 images of 9x6 (height x width)" in capsys.readouterr().out
    if name == "binary":
        assert {*np.unique(singles)} <= {0, 255}


def test_many_are_drawn_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_module, "AT_ONCE", 100)
    model_file(tmp_path / "run", "mcgsm", task={"side": 7})
    assert command("sample", tmp_path / "run", "--out", tmp_path / "all", "--count", "5") == 0
    found = [read(path) for path in (tmp_path / "all").iterdir()]
    assert [image.shape for image in found] == [(7, 7)] * 5
    assert len({image.tobytes() for image in found}) == 5


def test_nothing_is_lost_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model_file(tmp_path / "run", "mcgsm")
    small = ["--count", "1", "--height", "6"]
    (tmp_path / "a.png").write_bytes(b"mine")
    said = refused(capsys, "sample", tmp_path / "run", "--out", tmp_path / "a.png", *small)
    assert "which is there: add --overwrite to lose it" in said
    assert (tmp_path / "a.png").read_bytes() == b"mine"
    assert command("sample", tmp_path / "run", "--out", tmp_path / "a.png", "--overwrite", *small) == 0
    assert read(tmp_path / "a.png").size
    assert command("sample", tmp_path / "run", "--out", tmp_path / "singles", *small) == 0
    assert "is there" in refused(capsys, "sample", tmp_path / "run", "--out", tmp_path / "singles", *small)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--out", "b.png"], "expected a checkpoint nowhere, got none"),
        (["run", "--out", "b.jpg"], "expected --out to be a .png file or a folder, got b.jpg"),
        (["run", "--out", "b.png", "--height", "7"], "expected --height and --width to be divisible by 2, got 7 and 7"),
        (["run", "--out", "b.png", "--count", "0"], "argument --count: expected a whole number of at least 1"),
        (["run"], "the following arguments are required: --out"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refuses_in_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model_file(tmp_path / "run", "multiscale")
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, "sample", *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
