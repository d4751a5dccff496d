"""The pixels of lines: pictures of all kinds, their size, and how ink and paper are told apart."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spatial_lstm.handwriting.data import (
    Refusal,
    normalize,
    read_gray,
    scaled,
)
from tests.handwriting import scribbled
from tests.png import COLORS, write_png

PICTURES: dict[str, Callable[[np.ndarray], Image.Image]] = {
    "gray": Image.fromarray,
    "colors": lambda gray: Image.fromarray(gray).convert("RGB"),
    "16 bits": lambda gray: Image.fromarray(gray.astype(np.uint16) * 256),
    "12 bits in 16": lambda gray: Image.fromarray(gray.astype(np.uint16) * 16),
    "8 bits in 16": lambda gray: Image.fromarray(gray.astype(np.uint16)),
    "palette": lambda gray: Image.fromarray(gray).convert("P"),
    "transparent": lambda gray: Image.merge(
        "RGBA", [Image.new("L", gray.shape[::-1])] * 3 + [Image.fromarray(255 - gray)]
    ),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_of_all_kinds_are_gray(kind: str, tmp_path: Path) -> None:
    gray = np.asarray(scribbled(0, (30, 20)))
    PICTURES[kind](gray).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_gray(tmp_path / "a.png"), gray)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_level_is_white(bits: int, tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, min(2**bits, 256), (20, 30)) * (257 if bits == 16 else 1)
    level = 2**bits // 3
    path = write_png(tmp_path / "a.png", levels, bits, transparent=[level])
    np.testing.assert_array_equal(read_gray(str(path)), np.where(levels == level, 255, levels * 255 // (2**bits - 1)))


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_color_is_white_or_refused(bits: int, tmp_path: Path) -> None:
    colors = np.array([[[10, 10, 10], [200, 200, 200]]]) * (257 if bits == 16 else 1)
    path = write_png(tmp_path / "a.png", colors, bits, COLORS, transparent=colors[0, 0].tolist())
    if bits == 8:
        assert read_gray(path).tolist() == [[255, 200]]
    else:
        with pytest.raises(Refusal, match=r"a.png: has 16 bits and a transparent color$"):
            read_gray(path)


def test_a_picture_beyond_the_limit_is_said_to_be_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scribbled(0, (30, 20)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 299)
    with pytest.raises(Refusal, match=r"^image too large: a.png: Pillow reads up to 598 pixels$"):
        read_gray(tmp_path / "a.png")


@pytest.mark.parametrize("reduction", [0, 3, -2])
def test_other_reductions_are_refused(reduction: int, tmp_path: Path) -> None:
    scribbled(0, (30, 20)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=rf"one of \(1, 2, 4, 8\), got {reduction}"):
        read_gray(tmp_path / "a.png", reduction=reduction)


@pytest.mark.parametrize("end", ["png", "jpg"])
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_pictures_are_read_at_a_fraction(end: str, reduction: int, tmp_path: Path) -> None:
    smooth = np.asarray(scribbled(0, (6, 4)).resize((99, 67)))
    Image.fromarray(smooth).convert("RGB").save(tmp_path / f"a.{end}", quality=95)
    found = read_gray(tmp_path / f"a.{end}", reduction=reduction)
    expected = np.asarray(Image.fromarray(smooth).reduce(reduction))
    assert found.shape == expected.shape
    assert np.corrcoef(found[:-1, :-1].ravel(), expected[:-1, :-1].ravel())[0, 1] > 0.99


def test_a_broken_tiff_is_a_refusal_whatever_its_decoder_raises(tmp_path: Path) -> None:
    """Of one without dimensions Pillow raises a TypeError."""
    scribbled(0, (30, 20)).save(tmp_path / "a.tif")
    data = (tmp_path / "a.tif").read_bytes()
    width = struct.pack("<HHI", 0x0100, 4, 1)
    assert data.count(width) == 1
    (tmp_path / "a.tif").write_bytes(data.replace(width, struct.pack("<HHI", 0x0101, 4, 1)))
    with pytest.raises(Refusal, match="broken image"):
        read_gray(tmp_path / "a.tif")


def test_black_and_white(tmp_path: Path) -> None:
    gray = np.asarray(scribbled(0, (30, 20)))
    Image.fromarray(gray > 127).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_gray(tmp_path / "a.tif"), (gray > 127).astype(np.uint8) * 255)


def test_scaling_keeps_proportions() -> None:
    gray = np.asarray(scribbled(0, (100, 40)))
    assert scaled(gray, 20).shape == (20, 50)
    assert scaled(gray[:, :1], 4).shape == (4, 1)
    assert scaled(gray, 40) is gray


def line_of(paper: int, ink: int) -> np.ndarray:
    image = np.full((48, 100), paper, np.uint8)
    image[10:30, 40:60] = ink
    return image


@pytest.mark.parametrize(("paper", "ink"), [(220, 30), (255, 0), (128, 40), (20, 250)])
def test_ink_is_one_and_paper_zero(paper: int, ink: int) -> None:
    found = normalize(line_of(paper, ink), 48)
    assert found.shape == (1, 48, 100)
    assert found.dtype == torch.float32
    expected = torch.zeros(1, 48, 100)
    expected[0, 10:30, 40:60] = 1
    torch.testing.assert_close(found, expected)


def test_faint_ink_stays_faint() -> None:
    found = normalize(line_of(200, 184), 48)
    assert found.max() == 16 / 64
    assert (normalize(np.full((48, 10), 99, np.uint8), 48) == 0).all()


def test_normalized_lines_have_the_networks_height() -> None:
    assert normalize(line_of(220, 30), 24).shape == (1, 24, 50)


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (np.zeros((3, 4), np.float32), TypeError),
        ([[0]], TypeError),
        (np.zeros((3, 4, 3), np.uint8), ValueError),
        (np.zeros((0, 4), np.uint8), ValueError),
    ],
    ids=["floats", "list", "colors", "empty"],
)
def test_what_is_no_line_is_an_error(image: np.ndarray, error: type[Exception]) -> None:
    with pytest.raises(error, match="expected"):
        normalize(image, 48)
