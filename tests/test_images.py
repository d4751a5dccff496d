"""Data sets: what they hold, that they are made alike every time, and what happens to files that are no pictures."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from spatial_lstm.image_models import data
from spatial_lstm.image_models.data import dead_leaves as made
from spatial_lstm.image_models.data.dead_leaves import CHUNK
from tests.cases import assert_close


def painted_by_hand(height: int, width: int, radii: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    """The recipe disc by disc and pixel by pixel."""
    image = np.full((height, width), np.nan)
    rows, columns = np.mgrid[:height, :width]
    while np.isnan(image).any():
        u = random.random(CHUNK)
        radius = 1 / np.sqrt(radii[0] ** -2 + u * (radii[1] ** -2 - radii[0] ** -2))
        y = random.uniform(-radii[1], height - 1 + radii[1], CHUNK)
        x = random.uniform(-radii[1], width - 1 + radii[1], CHUNK)
        for r, cy, cx, value in zip(radius, y, x, random.random(CHUNK), strict=True):
            inside = (rows - cy) ** 2 + (columns - cx) ** 2 <= r**2
            image[inside & np.isnan(image)] = value
    return image


def test_dead_leaves_equal_the_recipe_done_by_hand() -> None:
    expected = painted_by_hand(23, 17, (2.0, 20.0), np.random.default_rng([5, 3]))
    found = made(1, 23, 17, seed=5, first=3, noise=0, radii=(2.0, 20.0))
    assert_close(found[0, 0].double(), torch.from_numpy(expected).float().double())


def test_dead_leaves_are_the_same_in_parts_and_differ_by_seed() -> None:
    whole = made(3, 20, 24, seed=1)
    assert whole.shape == (3, 1, 20, 24)
    assert whole.dtype == torch.float32
    assert torch.equal(whole[1:], made(2, 20, 24, seed=1, first=1))
    assert not torch.equal(whole, made(3, 20, 24, seed=2))
    assert made(0, 5, 5, seed=0).shape == (0, 1, 5, 5)


def test_dead_leaves_have_the_statistics_of_the_recipe() -> None:
    images = made(60, 64, 64, seed=0)
    assert abs(float(images.mean()) - 0.5) < 0.03
    assert abs(float(images.var()) - (1 / 12 + 0.05**2)) < 0.01
    # Neighbors lie on one leaf more often than not; then the difference is that of two noises.
    difference = images[..., 1:] - images[..., :-1]
    assert 0.05 * math.sqrt(2) * 0.9 < float(difference.abs().median() / 0.6745) < 0.15


def test_radii_follow_an_inverse_cube() -> None:
    from spatial_lstm.image_models.data.dead_leaves import _draw_radii

    radii = _draw_radii(np.linspace(0, 1, 20001), (2.0, 64.0))
    assert radii[0] == 2
    assert abs(radii[-1] - 64) < 1e-9
    for r in (3.0, 8.0, 30.0):
        assert abs((radii < r).mean() - (1 / 4 - r**-2) / (1 / 4 - 64**-2)) < 1e-3


def test_noise_bound() -> None:
    assert abs(data.noise_bound() - 2.2748) < 1e-4


@pytest.mark.parametrize("options", [{"noise": -1}, {"radii": (3, 2)}, {"radii": (0, 2)}, {"first": -1}])
def test_dead_leaves_refuse(options: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        made(1, 8, 8, **{"seed": 0, **options})


def test_dequantized_integers_are_found_again() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = data.dequantize(pixels, np.random.default_rng(0))
    assert image.shape == (1, 16, 16)
    assert torch.equal((image[0] * 256).floor().byte(), torch.from_numpy(pixels))
    assert float(image.max()) < 1
    assert data.dequantize(np.zeros((4, 5, 3), np.uint8), np.random.default_rng(0)).shape == (3, 4, 5)
    with pytest.raises(ValueError, match="uint8"):
        data.dequantize(pixels.astype(float), np.random.default_rng(0))


def test_split_columns_and_tiles_share_no_pixel() -> None:
    image = torch.arange(2 * 20 * 48).float().view(2, 20, 48)
    train, validation, test = data.split_columns(image)
    assert [part.shape[2] for part in (train, validation, test)] == [36, 6, 6]
    assert torch.equal(torch.cat([train, validation, test], 2), image)
    cut = data.tiles([image, image[:, :3]], 8)
    assert cut.shape == (12, 2, 8, 8)
    assert cut.unique().numel() == cut.numel()
    assert torch.equal(cut[7], image[:, 8:16, 8:16])
    assert torch.equal(data.tiles([image], 8, (4, 3))[0], image[:, 4:12, 3:11])
    assert torch.equal(data.with_flips(cut)[12:], cut.flip(3))
    with pytest.raises(ValueError, match="at least 21x21"):
        data.tiles([image], 21)


@pytest.mark.parametrize("name", sorted(set(data.NAMES) - {"deadleaves"}))
def test_shipped_pictures(name: str) -> None:
    splits = data.load(name)
    parts = [splits.train, splits.validation, splits.test]
    assert len({len(part) for part in parts}) == 1
    assert all(image.shape[0] == 1 and min(image.shape[1:]) >= 64 for part in parts for image in part)
    assert all(float(image.min()) >= 0 and float(image.max()) < 1 for part in parts for image in part)
    assert torch.equal(data.load(name).test[0], splits.test[0])


def test_photographs_have_color_and_textures_have_not() -> None:
    assert data.load("photos", color=True).channels == 3
    with pytest.raises(ValueError, match="gray"):
        data.load("grass", color=True)


def write_pictures(folder: Path, count: int, size: tuple[int, int] = (70, 80)) -> None:
    from PIL import Image

    random = np.random.default_rng(0)
    for index in range(count):
        Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{index:02}.png")


@pytest.mark.parametrize(("color", "channels"), [(False, 1), (True, 3)])
def test_a_folder_of_few_pictures_is_split_within_each(tmp_path: Path, color: bool, channels: int) -> None:
    write_pictures(tmp_path, 2)
    splits = data.load(tmp_path, color=color)
    assert splits.channels == channels
    assert [[tuple(i.shape) for i in part] for part in (splits.train, splits.validation, splits.test)] == [
        [(channels, 70, width)] * 2 for width in (40, 20, 20)
    ]


def test_a_folder_of_many_pictures_is_split_by_file(tmp_path: Path) -> None:
    write_pictures(tmp_path, 10)
    splits = data.load(str(tmp_path), seed=3)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [8, 1, 1]
    sums = {float(image.sum()) for part in (splits.train, splits.validation, splits.test) for image in part}
    assert len(sums) == 10
    assert len(splits.limited(3).train) == 3


def test_broken_and_small_files_are_named_and_skipped(tmp_path: Path) -> None:
    write_pictures(tmp_path, 1)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "cut.png").write_bytes((tmp_path / "00.png").read_bytes()[:2000])
    (tmp_path / "notes.txt").write_text("no picture either")
    with pytest.warns(UserWarning, match="skipped") as caught:
        splits = data.load(tmp_path)
    assert len(splits.train) == 1
    assert [next(w for w in ("broken.png", "cut.png") if w in str(c.message)) for c in caught] == [
        "broken.png",
        "cut.png",
    ]


@pytest.mark.parametrize("color", [False, True])
def test_pictures_of_16_bits_are_on_the_same_scale(tmp_path: Path, color: bool) -> None:
    from PIL import Image

    levels = np.arange(64 * 256).reshape(128, 128).astype(np.uint16) * 4
    Image.fromarray(levels).save(tmp_path / "deep.png")
    splits = data.load(tmp_path, color=color)
    found = torch.cat([splits.train[0], splits.validation[0], splits.test[0]], 2)
    assert found.shape == (3 if color else 1, 128, 128)
    assert (found.double() - torch.from_numpy(levels / 65536)).abs().max() <= 1 / 256


def test_splits_are_on_one_scale() -> None:
    images = [torch.rand(1, 8, 8)]
    assert data.Splits("right", images, images, images).channels == 1
    with pytest.raises(ValueError, match=r"expected images of about 0 to 1, got values from \S+ to 2\d\d"):
        data.Splits("wrong", images, [255 * image for image in images], images)
    with pytest.raises(ValueError, match="expected images of about 0 to 1, got values from nan"):
        data.Splits("broken", images, [image * torch.nan for image in images], images)
    with pytest.raises(ValueError, match=r"expected float32 images of shape \(C, H, W\), got torch.float64"):
        data.Splits("double", images, [image.double() for image in images], images)


def test_folders_without_usable_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="PNG or JPEG picture .* got none"):
        data.load(tmp_path)
    write_pictures(tmp_path, 1, size=(63, 80))
    with (
        pytest.warns(UserWarning, match=r"00\.png: 80x63 is smaller"),
        pytest.raises(ValueError, match="got 1 unusable"),
    ):
        data.load(tmp_path)
    with pytest.raises(ValueError, match="folder of pictures or one of deadleaves"):
        data.load("dedleaves")
