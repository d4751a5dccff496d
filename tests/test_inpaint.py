"""The command that fills a hole in a user's own picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spatial_lstm.image_models import PixelRNN
from tests.commands import command, model_file, picture, pixels, read, refused

QUICK = ["--sweeps", "1", "--candidates", "2"]


@pytest.fixture
def mask(tmp_path: Path) -> NDArray[np.bool_]:
    """A hole off all borders, in ``mask.png``."""
    found = np.zeros((12, 14), dtype=bool)
    found[5:8, 4:9] = True
    picture(tmp_path / "mask.png", found.astype(np.uint8) * 255)
    return found


@pytest.mark.parametrize(("name", "channels"), [("ride", 1), ("mcgsm", 1), ("color", 3), ("256", 1)])
def test_only_the_hole_changes(
    tmp_path: Path, mask: NDArray[np.bool_], name: str, channels: int, capsys: pytest.CaptureFixture[str]
) -> None:
    model_file(tmp_path / "run", name)
    before = pixels(12, 14, channels)
    image, out = picture(tmp_path / "image.png", before), tmp_path / "filled.png"
    assert command("inpaint", tmp_path / "run", image, tmp_path / "mask.png", "--out", out, *QUICK) == 0
    after = read(out)
    assert after.shape == before.shape
    assert np.array_equal(after[~mask], before[~mask])
    assert (after[mask] != before[mask]).any()
    assert f"15 of {12 * 14} pixels filled" in capsys.readouterr().out
    first = out.read_bytes()
    command("inpaint", tmp_path / "run", image, tmp_path / "mask.png", "--out", out, "--overwrite", *QUICK)
    assert out.read_bytes() == first
    more = ["--overwrite", "--seed", "1", *QUICK]
    command("inpaint", tmp_path / "run", image, tmp_path / "mask.png", "--out", out, *more)
    assert out.read_bytes() != first


def test_what_is_in_the_hole_is_not_read(tmp_path: Path, mask: NDArray[np.bool_]) -> None:
    model_file(tmp_path / "run", "ride")
    found = []
    for level in (0, 255):
        before = pixels(12, 14)
        before[mask] = level
        image, out = picture(tmp_path / "image.png", before), tmp_path / f"{level}.png"
        command("inpaint", tmp_path / "run", image, tmp_path / "mask.png", "--out", out, *QUICK)
        found.append(read(out))
    assert np.array_equal(*found)


def test_a_binary_model_completes(tmp_path: Path, mask: NDArray[np.bool_], monkeypatch: pytest.MonkeyPatch) -> None:
    """It sees the picture in black and white; outside of the hole the picture keeps its grays."""
    calls: list[Any] = []
    complete = PixelRNN.complete

    def noted(self: PixelRNN, images: Any, *args: Any, **options: Any) -> Any:
        calls.append((images, options["candidates"]))
        return complete(self, images, *args, **options)

    monkeypatch.setattr(PixelRNN, "complete", noted)
    model_file(tmp_path / "run", "binary")
    before = pixels(12, 14)
    image, out = picture(tmp_path / "image.png", before), tmp_path / "filled.png"
    assert command("inpaint", tmp_path / "run", image, tmp_path / "mask.png", "--out", out, *QUICK) == 0
    ((images, candidates),) = calls
    assert np.array_equal(images[0, 0].numpy(), before >= 128)
    assert candidates == 2
    after = read(out)
    assert np.array_equal(after[~mask], before[~mask])
    assert {*after[mask].tolist()} <= {0, 255}


def test_colors_are_lost_only_where_that_is_said(
    tmp_path: Path, mask: NDArray[np.bool_], capsys: pytest.CaptureFixture[str]
) -> None:
    model_file(tmp_path / "run", "mcgsm")
    image = picture(tmp_path / "image.png", pixels(12, 14, 3))
    given = [tmp_path / "run", image, tmp_path / "mask.png", "--out", tmp_path / "filled.png", *QUICK]
    said = refused(capsys, "inpaint", *given)
    assert f"expected a gray picture, as the model knows, got colors in {image}: add --gray luma to lose them" in said
    assert command("inpaint", *given, "--gray", "mean") == 0
    gray = np.round(read(image).mean(-1))
    assert np.array_equal(read(tmp_path / "filled.png")[~mask], gray[~mask])


def hole(*corners: int, height: int = 12, width: int = 14, level: int = 255) -> NDArray[np.uint8]:
    found = np.zeros((height, width), np.uint8)
    top, bottom, left, right = corners or (0, 0, 0, 0)
    found[top:bottom, left:right] = level
    return found


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            hole(5, 8, 4, 9, height=13),
            "expected a mask as large as the picture, 14x12 (width x height), got mask.png of 14x13",
        ),
        (
            hole(5, 8, 4, 9, level=200),
            "expected a mask of black (keep) and white (fill) alone, got 15 pixels of other values",
        ),
        (hole(), "expected a mask with white where to fill, got none in mask.png"),
        (hole(0, 12, 0, 14), "got nothing else: sample draws whole pictures"),
        (hole(1, 4, 4, 9), "expected a hole off the first 2 rows and the first and last 2 columns"),
        (hole(5, 8, 10, 13), "expected a hole off the first 2 rows and the first and last 2 columns"),
    ],
    ids=["size", "gray", "nothing", "everything", "top", "right"],
)
def test_masks_that_are_none(
    wrong: NDArray[np.uint8],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    model_file(tmp_path / "run", "mcgsm")
    picture(tmp_path / "image.png", pixels(12, 14))
    picture(tmp_path / "mask.png", wrong)
    assert said in refused(capsys, "inpaint", "run", "image.png", "mask.png", "--out", "filled.png")
    assert not (tmp_path / "filled.png").exists()


@pytest.mark.usefixtures("mask")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "image.png", "mask.png", "--out", "a.png"], "expected a checkpoint nowhere, got none"),
        (["run", "other.png", "mask.png", "--out", "a.png"], "expected a picture, got other.png"),
        (["run", "image.png", "other.png", "--out", "a.png"], "expected a picture, got other.png"),
        (["run", "run/best.pt", "mask.png", "--out", "a.png"], "expected a picture, got run/best.pt"),
        (
            ["run", "image.png", "mask.png", "--out", "a.jpg"],
            "expected --out to be a .png file, which keeps pixels as they are",
        ),
        (
            ["run", "image.png", "mask.png", "--out", "image.png"],
            "expected --out to be new, got image.png, which is there",
        ),
        (
            ["scales", "image.png", "mask.png", "--out", "a.png"],
            "expected a model that fills holes, got a MultiscaleRIDE",
        ),
        (["run", "image.png", "--out", "a.png"], "the following arguments are required: MASK"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refuses_in_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model_file(tmp_path / "run", "mcgsm")
    model_file(tmp_path / "scales", "multiscale")
    picture(tmp_path / "image.png", pixels(12, 14))
    assert said in refused(capsys, "inpaint", *arguments)


@pytest.mark.usefixtures("mask")
def test_what_a_picture_loses_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model_file(tmp_path / "run", "mcgsm")
    model_file(tmp_path / "binary", "binary")
    more = ["--out", tmp_path / "filled.png", "--overwrite", *QUICK]
    deep = picture(tmp_path / "deep.png", pixels(12, 14).astype(np.uint16) * 256)
    assert command("inpaint", tmp_path / "run", deep, tmp_path / "mask.png", *more) == 0
    assert f"{deep}: 16 bits, of which the upper 8 are taken\n" in capsys.readouterr().out
    gray = picture(tmp_path / "gray.png", pixels(12, 14))
    assert command("inpaint", tmp_path / "binary", gray, tmp_path / "mask.png", *more) == 0
    assert f"{gray}: grays made black and white: white from 128 on, to the model" in capsys.readouterr().out


def test_a_mask_painted_on_nothing_is_told_to_be_white(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model_file(tmp_path / "run", "mcgsm")
    image = picture(tmp_path / "image.png", pixels(12, 14))
    layer = np.zeros((12, 14, 4), np.uint8)
    layer[5:8, 4:9] = 255
    mask = picture(tmp_path / "mask.png", layer)
    told = refused(capsys, "inpaint", tmp_path / "run", image, mask, "--out", tmp_path / "filled.png")
    assert "got nothing else (transparent in places, laid on white): sample draws whole pictures" in told
