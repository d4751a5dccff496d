"""Files of pictures: every format and mode, what is done to them and what is said of that, and what is refused."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spatial_lstm.image_models import data
from tests.png import COLORS, write_png

Image = pytest.importorskip("PIL.Image")
GRAY = np.random.default_rng(0).integers(0, 256, (33, 41), dtype=np.uint8)
COLOR = np.random.default_rng(1).integers(0, 256, (33, 41, 3), dtype=np.uint8)
DEEP = np.random.default_rng(2).integers(0, 1 << 16, (33, 41)).astype(np.uint16)


def saved(path: Path, pixels: NDArray, mode: str | None = None, **options: object) -> Path:
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(path, **options)
    return path


def said(path: Path, **options: bool | str) -> list[str]:
    """What is remarked of a single picture."""
    return [note.partition(": ")[2] for note in data.load_part(path, **options).notes]


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.tif", "a.tiff", "a.bmp", "a.gif", "a.webp", "a.pgm"])
def test_gray_pictures(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, GRAY, **({"lossless": True} if name == "a.webp" else {}))
    found = data.read_picture(path)
    assert np.array_equal(found, GRAY)
    assert found.flags.writeable
    assert np.array_equal(data.read_picture(path, color=True), GRAY[..., None].repeat(3, 2))
    assert said(tmp_path) == []
    assert said(path, color=True) == ["gray, repeated in three equal channels"]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.webp", "a.ppm"])
def test_pictures_in_color(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, COLOR, **({"lossless": True} if name == "a.webp" else {}))
    assert np.array_equal(data.read_picture(path, color=True), COLOR)
    assert np.array_equal(data.read_picture(path), np.asarray(Image.fromarray(COLOR).convert("L")))
    assert np.array_equal(data.read_picture(path, gray="mean"), np.rint(COLOR.mean(2)))
    assert said(tmp_path, color=True) == []
    assert said(path) == ["color turned to gray (luma); color=True keeps it"]


def test_jpegs_are_read_and_turned(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 64 * 48).reshape(64, 48).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.jpeg", smooth, quality=95, exif=exif)
    found = data.read_picture(path)
    assert found.shape == (48, 64)
    assert np.abs(found.astype(int) - np.rot90(smooth, -1)).max() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("name", "pixels", "options"),
    [
        ("a.png", GRAY, {}),
        ("a.tif", GRAY, {}),
        ("a.tif", GRAY, {"compression": "tiff_lzw"}),
        ("a.tif", GRAY.astype(np.uint16) << 8, {}),
    ],
    ids=["png", "tiff", "compressed tiff", "tiff of 16 bits"],
)
def test_every_orientation(
    tmp_path: Path, orientation: int, name: str, pixels: NDArray, options: dict[str, str]
) -> None:
    """By the standard's table of where the first row and the first column of what is stored belong."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    bottom, right = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    meant = (GRAY if orientation < 5 else GRAY.T)[:: -1 if bottom else 1, :: -1 if right else 1]
    assert np.array_equal(data.read_picture(saved(tmp_path / name, pixels, exif=exif, **options)), meant)


def write_tiff(path: Path, content: bytes, **tags: int) -> Path:
    """A TIFF file of 3 x 2 pixels, its tags by their numbers."""
    planes = tags.pop("planes", 1)
    size = len(content) // planes
    starts = [256 + plane * size for plane in range(planes)]
    told: dict[int, list[int]] = {
        256: [3],
        257: [2],
        259: [1],
        273: starts,
        277: [planes],
        278: [2],
        279: [size] * planes,
    }
    told |= {int(name.removeprefix("t")): [value] for name, value in tags.items()}
    entries, more = b"", b""
    for tag, values in sorted(told.items()):
        packed = struct.pack(f"<{len(values)}H", *values)
        if len(packed) > 4:
            more, packed = more + packed, struct.pack("<I", 200 + len(more))
        entries += struct.pack("<HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<IH", 8, len(told)) + entries + bytes(4)
    path.write_bytes(head.ljust(200, b"\0") + more.ljust(56, b"\0") + content)
    return path


def test_tiff_files_that_pillow_misreads(tmp_path: Path) -> None:
    """White may be zero in 16 bits; numbers with a sign and 16 bits in separate planes are refused."""
    values = np.array([[0, 1, 256], [4095, 40000, 65535]], "<u2")
    path = write_tiff(tmp_path / "a.tif", values.tobytes(), t258=16, t262=0)
    assert data.read_picture(path).tolist() == ((65535 - values.astype(int)) >> 8).tolist()
    path = write_tiff(tmp_path / "a.tif", values.tobytes(), t258=16, t262=1)
    assert data.read_picture(path).tolist() == (values >> 8).tolist()
    with pytest.raises(ValueError, match="has 8 bits with a sign"):
        data.read_picture(write_tiff(tmp_path / "a.tif", bytes(6), t258=8, t262=1, t339=2))
    path = write_tiff(tmp_path / "a.tif", values.tobytes() * 3, planes=3, t258=16, t262=2, t284=2)
    with pytest.raises(ValueError, match="has 16 bits with each channel in a plane of its own"):
        data.read_picture(path)


@pytest.mark.parametrize("kind", ["png", "little-endian tiff", "big-endian tiff", "pgm"])
@pytest.mark.parametrize("color", [False, True], ids=["gray", "color"])
def test_of_16_bits_the_upper_eight_are_taken(tmp_path: Path, kind: str, color: bool) -> None:
    path = tmp_path / f"a.{kind[-4:].strip()}"
    if kind == "pgm":
        path.write_bytes(b"P5 41 33 65535\n" + DEEP.astype(">u2").tobytes())
    elif kind == "big-endian tiff":
        Image.frombytes("I;16B", (41, 33), DEEP.astype(">u2").tobytes()).save(path)
    else:
        Image.fromarray(DEEP).save(path)
    expected = (DEEP >> 8)[..., None].repeat(3, 2) if color else DEEP >> 8
    assert np.array_equal(data.read_picture(path, color=color), expected)
    assert "16 bits, of which the upper 8 are taken" in said(path, color=color)


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (6, 4), (4, 2)], ids=["rgb", "rgba", "gray with alpha"])
def test_colors_of_16_bits_are_remarked(tmp_path: Path, kind: int, channels: int) -> None:
    pixels = np.random.default_rng(3).integers(0, 1 << 16, (9, 8, channels)).astype(np.uint16)
    if channels != 3:
        pixels[..., -1] = 65535
    path = write_png(tmp_path / "a.png", pixels, 16, kind)
    colors = pixels[..., :3] if channels > 2 else pixels[..., :1].repeat(3, 2)
    assert np.array_equal(data.read_picture(path, color=True), colors >> 8)
    assert said(path)[0] == "16 bits, of which the upper 8 are taken"


def test_colors_of_16_bits_in_a_ppm_are_remarked(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P6 2 1 65535\n" + np.array([0, 0, 0, 65535, 256, 0], ">u2").tobytes())
    assert data.read_picture(tmp_path / "a.ppm", color=True).tolist() == [[[0, 0, 0], [255, 1, 0]]]
    assert said(tmp_path / "a.ppm")[0] == "16 bits, of which the upper 8 are taken"


def test_dark_pictures_of_12_bits_in_16_are_remarked(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", DEEP >> 4)
    assert data.read_picture(path).max() == 15
    assert any("the upper 4 are empty, so that they come out dark" in note for note in said(path))


@pytest.mark.parametrize("pixels", [DEEP.astype(np.int32), DEEP / np.float32(65535)], ids=["integers", "floats"])
def test_pixels_of_32_bits_are_refused(tmp_path: Path, pixels: NDArray) -> None:
    path = saved(tmp_path / "a.tif", pixels)
    with pytest.raises(ValueError, match=r"expected a picture, got .*a\.tif: .* whose scale nothing tells"):
        data.read_picture(path)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_laid_on_white(tmp_path: Path, mode: str) -> None:
    alpha = np.arange(256, dtype=np.uint8)[None]
    gray = np.full((1, 256), 100, np.uint8)
    pixels = np.stack([gray, alpha] if mode == "LA" else [gray, gray, gray, alpha], 2)
    path = saved(tmp_path / "a.png", pixels)
    assert np.array_equal(data.read_picture(path), np.rint(255 - (255 - 100) * (alpha / 255)))
    assert said(path) == ["transparent in places, laid on white"]


def test_an_alpha_channel_that_hides_nothing_is_dropped(tmp_path: Path) -> None:
    opaque = np.concatenate([COLOR, np.full((33, 41, 1), 255, np.uint8)], 2)
    path = saved(tmp_path / "a.png", opaque)
    assert np.array_equal(data.read_picture(path, color=True), COLOR)
    assert said(path, color=True) == []
    opaque[..., 3] = 0
    saved(path, opaque)
    with pytest.raises(ValueError, match="transparent everywhere"):
        data.read_picture(path)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_transparent_level_is_white(tmp_path: Path, bits: int) -> None:
    levels = np.arange(2**bits)[None]
    path = write_png(tmp_path / "a.png", levels, bits, transparent=[2**bits // 3])
    expected = np.where(levels == 2**bits // 3, 255, levels * 255 // (2**bits - 1))
    assert np.array_equal(data.read_picture(path), expected)


def test_transparent_colors_of_16_bits_are_refused(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", np.full((1, 2, 3), 2571), 16, COLORS, transparent=[2571] * 3)
    with pytest.raises(ValueError, match="has 16 bits and a transparent color"):
        data.read_picture(path)


def test_palettes(tmp_path: Path) -> None:
    """Their colors rather than their numbers, and white where a color is transparent."""
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    picture.putpalette([200, 10, 20, 30, 40, 50, 60, 70, 80])
    picture.save(tmp_path / "a.png")
    colors = [[200, 10, 20], [30, 40, 50], [60, 70, 80]]
    assert data.read_picture(tmp_path / "a.png", color=True).tolist() == [colors]
    for name in ("b.png", "b.gif"):
        picture.save(tmp_path / name, transparency=1)
        found = data.read_picture(tmp_path / name, color=True)
        assert found.tolist() == [[colors[0], [255] * 3, colors[2]]]


def test_pictures_of_one_bit_and_of_inks(tmp_path: Path) -> None:
    found = data.read_picture(saved(tmp_path / "bits.png", GRAY, "1"))
    assert set(np.unique(found)) == {0, 255}
    inks = saved(tmp_path / "inks.tif", COLOR, "CMYK")
    assert np.array_equal(data.read_picture(inks, color=True), COLOR)
    assert said(inks, color=True) == ["CMYK, turned to RGB without their color profile"]


@pytest.mark.parametrize("name", ["a.gif", "a.tif"])
def test_of_several_frames_the_first_is_taken(tmp_path: Path, name: str) -> None:
    frames = [Image.fromarray(pixels) for pixels in (GRAY, GRAY[::-1])]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    assert np.array_equal(data.read_picture(tmp_path / name), GRAY)
    assert said(tmp_path) == ["several frames or pages, of which the first is taken"]


def test_previews_in_a_photograph_are_no_frames(tmp_path: Path) -> None:
    preview = Image.fromarray(GRAY[::2, ::2])
    Image.fromarray(GRAY).save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    assert data.read_picture(tmp_path / "a.jpg").shape == GRAY.shape
    assert said(tmp_path / "a.jpg") == []


def test_a_picture_of_one_pixel(tmp_path: Path) -> None:
    assert data.read_picture(saved(tmp_path / "a.png", GRAY[:1, :1])).tolist() == [[GRAY[0, 0]]]


def test_pillow_is_missed_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.png", GRAY)
    monkeypatch.setitem(sys.modules, "PIL", None)
    for read in (data.read_picture, data.load):
        with pytest.raises(ModuleNotFoundError, match="expected Pillow to read pictures: pip install"):
            read(path)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.png", GRAY)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:500])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "program.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n")
    for name, why in {
        "cut.png": "truncated",
        "text.png": "it is no PNG, JPEG, TIFF, GIF, BMP, WebP, PGM or PPM file",
        "empty.jpg": "it is no PNG, JPEG",
        "program.png": "it is no PNG, JPEG",
        "missing.png": "No such file",
        ".": "directory",
    }.items():
        with pytest.raises(ValueError, match=f"expected a picture, got .*{name}: .*{why}"):
            data.read_picture(tmp_path / name)
    with pytest.raises(ValueError, match="expected gray to be one of luma, mean, got 'green'"):
        data.read_picture(whole, gray="green")


def test_grays_made_black_and_white_are_remarked(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.array([[0, 255], [255, 254]], np.uint8))
    assert said(path, binarize="threshold") == ["grays made black and white: white from 128 on"]
    assert said(path, binarize="sample") == ["grays made black and white: white with chance pixel/255"]
    assert said(saved(tmp_path / "b.png", np.array([[0, 255]], np.uint8)), binarize="sample") == []
