"""Images: the recipe of dead leaves, what ships in packages, from integers to images, tiles, and what a data set refuses."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from spatial_lstm.image_models import data
from spatial_lstm.image_models.data import dead_leaves as made
from spatial_lstm.image_models.data.dead_leaves import CHUNK
from spatial_lstm.image_models.data.levels import encode
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


def test_dead_leaves_of_a_recipe_of_ones_own_are_split() -> None:
    splits = data.generated(train=2, held_out=1, side=16, seed=3, noise=0.1, radii=(1.0, 8.0))
    images = list(made(4, 16, 16, seed=3, noise=0.1, radii=(1.0, 8.0)))
    for part, expected in ((splits.train, images[:2]), (splits.validation, images[2:3]), (splits.test, images[3:])):
        assert len(part) == len(expected)
        assert all(torch.equal(a, b) for a, b in zip(part, expected, strict=True))


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


class Always(np.random.Generator):
    """Draws one number alone."""

    def __init__(self, number: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.number = number

    def random(self, size: tuple[int, ...]) -> np.ndarray:
        return np.full(size, self.number)


@pytest.mark.parametrize("noise", [0.0, 2.0**-53, 0.5, 1 - 2.0**-24, 1 - 2.0**-53], ids="{:.17g}".format)
def test_no_noise_makes_an_integer_another(noise: float) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = data.dequantize(pixels, Always(noise))
    assert torch.equal((image[0] * 256).floor().int(), torch.from_numpy(pixels.astype(np.int32)))
    assert float((image[0].double() * 256 - torch.from_numpy(pixels + noise)).abs().max()) < 2e-5


def test_pictures_at_once_are_pictures_one_after_the_other() -> None:
    random = np.random.default_rng(0)
    shapes = [(3, 4), (3, 4), (3, 4, 3), (2, 2), (2, 2), (3, 4)]
    pictures = [random.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    for how in (None, "sample", "threshold"):
        together, alone = np.random.default_rng(1), np.random.default_rng(1)
        for image, pixels in zip(encode(pictures, together, how), pictures, strict=True):
            assert torch.equal(image, data.binarize(pixels, how, alone) if how else data.dequantize(pixels, alone))
        assert together.random() == alone.random()


def test_binarized_integers() -> None:
    pixels = np.array([[0, 1, 127, 128, 255]], np.uint8).repeat(40000, 0)
    threshold, sample = (data.binarize(pixels, how, np.random.default_rng(0))[0] for how in ("threshold", "sample"))
    assert threshold.dtype == torch.float32
    assert threshold.unique(dim=0).tolist() == [[0, 0, 0, 1, 1]]
    assert (sample[:, 0] == 0).all()
    assert (sample[:, 4] == 1).all()
    share, deviation = torch.from_numpy(pixels[0] / 255), 0.5 / 200
    assert ((sample.double().mean(0) - share).abs() < 5 * deviation).all()
    assert float(sample[:, 1].sum()) > 0
    with pytest.raises(ValueError, match="expected binarize to be None or one of threshold, sample, got 'half'"):
        data.binarize(pixels, "half", np.random.default_rng(0))


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
    several = [image, image + 2000, image[:, :9, :8], image + 4000]
    assert torch.equal(data.tiles(several, 8), torch.cat([data.tiles([each], 8) for each in several]))
    assert torch.equal(data.with_flips(cut)[12:], cut.flip(3))
    all_views = data.turned(cut[:1].expand(8, -1, -1, -1), torch.arange(8))
    assert len(all_views.flatten(1).unique(dim=0)) == 8
    assert torch.equal(all_views[:3], torch.cat([cut[:1], cut[:1].flip(3), cut[:1].flip(2)]))
    assert torch.equal(all_views[5], cut[0].flip(2).mT)
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


def test_splits_are_on_one_scale() -> None:
    images = [torch.rand(1, 8, 8)]
    assert data.Splits("right", images, images, images).channels == 1
    with pytest.raises(
        ValueError, match=r"got values from \S+ to 2\S+: divide integers by 256 \(or 255\), or use dequantize"
    ):
        data.Splits("wrong", images, [255 * image for image in images], images)
    with pytest.raises(ValueError, match="expected images of about 0 to 1, got values from nan"):
        data.Splits("broken", images, [image * torch.nan for image in images], images)
    with pytest.raises(ValueError, match=r"expected float32 images of shape \(C, H, W\), got torch.float64"):
        data.Splits("double", images, [image.double() for image in images], images)
    with pytest.raises(
        ValueError, match=r"expected float32 images of shape \(C, H, W\), got torch.float32 \(1, 8, 0\)"
    ):
        data.Splits("empty", images, [image[..., :0] for image in images], images)
    with pytest.raises(ValueError, match="expected images of one number of channels, got 1 and 3"):
        data.Splits("mixed", images, images, [torch.rand(3, 8, 8)])


def test_an_image_on_another_scale_is_found_among_many() -> None:
    images = [torch.rand(1, 4, 4 + place % 3) for place in range(50)]
    for place in (0, 25, 49):
        wrong = [image + 2 * (k == place) for k, image in enumerate(images)]
        with pytest.raises(ValueError, match="expected images of about 0 to 1"):
            data.Splits("wrong", wrong, images, images)


def test_what_runs_have_noted_of_their_data_is_known_again() -> None:
    """The summary that checkpoints hold: count, pixels, and the means of some images."""
    images = [torch.full((1, 4, 5), place / 20) for place in range(20)]
    splits = data.Splits("steps", images, images[:2], images[:1])
    noted = {
        "train": [20, 400, *(place / 20 for place in range(0, 20, 2))],
        "validation": [2, 40, 0.0, 0.05],
        "test": [1, 20, 0.0],
    }
    assert splits.summary().keys() == noted.keys()
    assert all(splits.summary()[name] == pytest.approx(values) for name, values in noted.items())
    assert splits.resembles(noted)
    assert not splits.resembles({**noted, "test": [1, 20, 0.01]})


def test_a_record_of_images_from_nowhere() -> None:
    images = [torch.rand(1, 8, 8)]
    splits = data.Splits("made", images * 3, images, images)
    assert splits.record()["train"] == {"count": 3, "pixels": 192, "sources": []}
    assert splits.limited(2).record()["train"] == {"count": 2, "pixels": 128, "sources": []}
    assert splits.limited(4).record() == splits.record()


def test_a_folder_named_like_a_data_set_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    said = r"expected a data set or a path, got 'photos', which is both here: write \./photos for the path"
    for read in (data.load, data.load_part):
        with pytest.raises(ValueError, match=said):
            read("photos")
        with pytest.raises(ValueError, match="usable|picture"):
            read("./photos")
