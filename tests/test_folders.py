"""Folders of pictures: how they are divided, what is known of that afterwards, and what is left out or refused."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from spatial_lstm.image_models import data

Image = pytest.importorskip("PIL.Image")


def write(folder: Path, count: int, size: tuple[int, ...] = (20, 40), first: int = 0) -> Path:
    """Pictures 00.png, 01.png, .., each of other pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(first, first + count):
        pixels = np.random.default_rng([index, *size]).integers(0, 256, size, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:02}.png")
    return folder


def counts(splits: data.Splits) -> list[int]:
    return [len(splits.part(part)) for part in data.PARTS]


def sums(splits: data.Splits) -> list[float]:
    """A number for each image, by which it is known."""
    return [float(image.sum()) for part in data.PARTS for image in splits.part(part)]


def test_of_many_files_a_tenth_each_is_held_out(tmp_path: Path) -> None:
    splits = data.load(str(write(tmp_path, 21, size=(7, 5))), seed=3)
    assert counts(splits) == [17, 2, 2]
    assert len(set(sums(splits))) == 21
    names = [name for part in data.PARTS for name in splits.sources[part]]
    assert sorted(names) == [f"{index:02}.png" for index in range(21)]
    for part in data.PARTS:
        for image, name in zip(splits.part(part), splits.sources[part], strict=True):
            pixels = torch.from_numpy(data.read_picture(tmp_path / name))
            assert torch.equal((image[0] * 256).floor().byte(), pixels)
    assert splits.limited(3).sources["train"] == splits.sources["train"][:3]
    assert data.load(tmp_path, seed=3).sources == splits.sources
    assert data.load(tmp_path, seed=4).sources != splits.sources


@pytest.mark.parametrize(("width", "edges"), [(40, [0, 20, 30, 40]), (512, [0, 384, 448, 512])], ids=["narrow", "wide"])
def test_of_few_pictures_columns_are_held_out(tmp_path: Path, width: int, edges: list[int]) -> None:
    splits = data.load(write(tmp_path, 2, size=(20, width)))
    for place, part in enumerate(data.PARTS):
        a, b = edges[place : place + 2]
        assert [tuple(image.shape) for image in splits.part(part)] == [(1, 20, b - a)] * 2
        assert splits.sources[part] == [f"{name}.png[:, {a}:{b}]" for name in ("00", "01")]
        pixels = torch.from_numpy(data.read_picture(tmp_path / "01.png"))
        assert torch.equal((splits.part(part)[1][0] * 256).floor().byte(), pixels[:, a:b])


def test_few_pictures_that_are_too_narrow_are_refused(tmp_path: Path) -> None:
    write(tmp_path, 2)
    write(tmp_path, 1, size=(28, 28), first=2)
    with pytest.raises(ValueError, match=r"expected 10 pictures .* at least 32 columns .* got 3, and 02\.png of 28x28"):
        data.load(tmp_path)


def test_a_single_picture_is_a_data_set(tmp_path: Path) -> None:
    path = write(tmp_path, 2) / "01.png"
    splits = data.load(path)
    assert splits.name == "01.png"
    assert splits.sources["test"] == ["01.png[:, 30:40]"]


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "valid", "testing")])
def test_folders_named_like_parts_are_these(tmp_path: Path, names: tuple[str, ...]) -> None:
    for first, name in enumerate(names):
        write(tmp_path / name / "deeper", 2 + first, first=10 * first, size=(5, 3))
    splits = data.load(tmp_path)
    assert splits.sources == {
        part: [f"{name}/deeper/{10 * first + k:02}.png" for k in range(2 + first)]
        for first, (part, name) in enumerate(zip(data.PARTS, names, strict=True))
    }
    assert (counts(splits), splits.notes) == ([2, 3, 4], [])


@pytest.mark.parametrize(("count", "held_out"), [(2, 1), (5, 1), (30, 3)])
def test_a_missing_validation_folder_is_held_out_of_the_training_files(
    tmp_path: Path, count: int, held_out: int
) -> None:
    write(tmp_path / "train", count, size=(5, 3))
    write(tmp_path / "test", 2, first=90)
    splits = data.load(tmp_path)
    assert counts(splits) == [count - held_out, held_out, 2]
    assert splits.sources["test"] == ["test/90.png", "test/91.png"]
    assert len(set(sums(splits))) == count + 2
    for part in data.PARTS:
        alone = data.load_part(tmp_path, part)
        assert alone.names == splits.sources[part]
        assert all(torch.equal(a, b) for a, b in zip(alone.images, splits.part(part), strict=True))


def test_pictures_beside_the_folders_of_parts_are_left_out_with_a_word(tmp_path: Path) -> None:
    write(tmp_path / "train", 3)
    write(tmp_path / "test", 2)
    write(tmp_path / "masks", 2)
    write(tmp_path, 1)
    assert data.load(tmp_path).notes == [
        f"3 pictures left out, which lie in {tmp_path} but not in its folders for train, test"
    ]


def test_folders_of_parts_that_are_no_division_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "test", 2)
    with pytest.raises(ValueError, match="expected pictures in a folder train beside test in"):
        data.load(tmp_path)
    write(tmp_path / "train", 1)
    with pytest.raises(ValueError, match="expected at least 2 pictures .* held out for validation, got 1"):
        data.load(tmp_path)
    write(tmp_path / "val", 1)
    write(tmp_path / "valid", 1)
    with pytest.raises(ValueError, match="expected one folder for validation in .*, got val and valid"):
        data.load(tmp_path)


def test_given_parts_stand_for_what_is_held_out(tmp_path: Path) -> None:
    train, others, test = (
        write(tmp_path / "a", 20),
        write(tmp_path / "b", 3, first=30),
        write(tmp_path / "c", 2, first=40),
    )
    assert counts(data.load(train, validation=others, test=test)) == [20, 3, 2]
    assert counts(data.load(train, test=test)) == [18, 2, 2]
    assert counts(data.load(train, validation=others)) == [18, 3, 2]
    assert counts(data.load(others, test=str(test))) == [2, 1, 2]
    assert counts(data.load("grass", test=test)) == [1, 1, 2]
    assert counts(data.load(train, test="grass")) == [18, 2, 1]
    splits = data.load(train, test=test / "41.png")
    assert splits.sources["test"] == ["41.png"]
    assert torch.equal(data.load_part(test / "41.png").images[0], splits.test[0])
    with pytest.raises(ValueError, match="expected a folder of pictures or one of deadleaves"):
        data.load(train, test=tmp_path / "missing")


def test_each_part_has_noise_of_its_own(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, 1, first=10 * first) for first, name in enumerate("abc")]
    splits = data.load(folders[0], validation=folders[1], test=folders[2])
    noise = [(256 * splits.part(part)[0]).frac() for part in data.PARTS]
    assert all((a - b).abs().mean() > 0.2 for a, b in combinations(noise, 2))


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_parts_that_share_a_file_are_refused(tmp_path: Path, link: str) -> None:
    train, test = write(tmp_path / "a", 12), write(tmp_path / "b", 1, first=20)
    for other in (train, train / "03.png", tmp_path / "b" / ".." / "a"):
        with pytest.raises(ValueError, match=r"expected parts that share no file, got .*\.png in train and .* in test"):
            data.load(train, validation=test, test=other)
    getattr(test / "21.png", link)(train / "05.png")
    with pytest.raises(ValueError, match=r"got .*05\.png in train and .*21\.png in test"):
        data.load(train, validation=write(tmp_path / "c", 1, first=30), test=test)


def test_the_division_is_the_same_whatever_becomes_of_the_pixels(tmp_path: Path) -> None:
    write(tmp_path, 12)
    sources = data.load(tmp_path).sources
    assert data.load(tmp_path, binarize="threshold").sources == sources
    assert data.load(tmp_path, binarize="sample").sources == sources


def test_binarized_pictures(tmp_path: Path) -> None:
    write(tmp_path, 12)
    splits = data.load(tmp_path, binarize="threshold")
    for image, name in zip(splits.train, splits.sources["train"], strict=True):
        assert torch.equal(image[0], torch.from_numpy(data.read_picture(tmp_path / name) >= 128).float())
    sampled = [data.load(tmp_path, binarize="sample", seed=seed) for seed in (0, 0, 1)]
    assert sums(sampled[0]) == sums(sampled[1]) != sums(sampled[2])
    assert {float(value) for value in torch.stack(sampled[0].train).unique()} == {0, 1}
    with pytest.raises(ValueError, match="expected binarize to be None or one of threshold, sample, got 'half'"):
        data.load(tmp_path, binarize="half")


def test_skipped_files_are_told_once(tmp_path: Path) -> None:
    whole = write(tmp_path / "train", 12) / "00.png"
    write(tmp_path / "test", 1, first=20)
    for name in ("a", "b", "c"):
        (tmp_path / "train" / f"{name}.png").write_bytes(b"no picture")
    (tmp_path / "test" / "cut.png").write_bytes(whole.read_bytes()[:500])
    (tmp_path / "notes.txt").write_text("no picture either")
    (tmp_path / "train" / "._00.png").write_bytes(b"hidden")
    with pytest.warns(UserWarning, match="skipped") as caught:
        splits = data.load(tmp_path)
    (said,) = {str(warning.message) for warning in caught}
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert said.startswith("4 of 17 files skipped: train/a.png (it is no PNG, JPEG, ")
    assert said.endswith("and 1 more")
    assert splits.notes == [said]


def test_what_happened_to_pictures_is_said_once_for_all(tmp_path: Path) -> None:
    write(tmp_path / "train", 9, size=(20, 40, 3))
    write(tmp_path / "train", 2, first=10)
    write(tmp_path / "test", 1, size=(20, 40, 3), first=20)
    splits = data.load(tmp_path, gray="mean")
    assert splits.notes == ["10 of 12 pictures: color turned to gray (mean); color=True keeps it"]
    image = splits.test[0]
    expected = np.rint(data.read_picture(tmp_path / "test" / "20.png", color=True).mean(2))
    assert np.array_equal((image[0] * 256).floor().numpy(), expected)
    in_color = data.load(tmp_path, color=True)
    assert in_color.channels == 3
    assert in_color.notes == ["2 of 12 pictures: gray, repeated in three equal channels"]


def test_folders_without_usable_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a PNG, JPEG, .* picture in .*, got none"):
        data.load(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"got 1 unusable: a\.png \(it is no PNG"):
        data.load(tmp_path)
    with pytest.raises(ValueError, match="folder of pictures or one of deadleaves"):
        data.load("dedleaves")


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", 2)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path / "data")
    assert data.load_part(tmp_path / "data" / "train").names == ["00.png", "01.png"]
    write(tmp_path / "data" / "test", 1, first=20)
    assert data.load(tmp_path / "data").sources["test"] == ["test/20.png"]


def test_a_data_set_that_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made = data.generated(train=3, held_out=2, side=16, seed=5)
    made.notes.append("made here")
    monkeypatch.setitem(data.NAMES, "deadleaves", lambda seed, color: made)
    splits = data.load("deadleaves")
    assert splits.sources == {
        "train": ["dead leaves of seed 5[0:3]"],
        "validation": ["dead leaves of seed 5[3:5]"],
        "test": ["dead leaves of seed 5[5:7]"],
    }
    assert (splits.notes, sums(splits)) == (["made here"], sums(made))
    assert data.load_part("deadleaves").names == ["deadleaves test 0", "deadleaves test 1"]
    with pytest.raises(ValueError, match="expected binarize=None for deadleaves, whose pixels are no integers"):
        data.load_part("deadleaves", binarize="sample")


def test_a_part_of_a_named_data_set(tmp_path: Path) -> None:
    alone, splits = data.load_part("grass", "validation"), data.load("grass")
    assert torch.equal(alone.images[0], splits.validation[0])
    assert alone.names == splits.sources["validation"] == ["grass[:, 384:448]"]
    whole = data.load_part(write(tmp_path, 2))
    assert [tuple(image.shape) for image in whole.images] == [(1, 20, 40)] * 2
    assert whole.names == ["00.png", "01.png"]
    with pytest.raises(ValueError, match="expected a part of train, validation, test, got 'val'"):
        data.load_part("grass", "val")


def test_a_record_tells_what_is_in_each_part(tmp_path: Path) -> None:
    splits = data.load(write(tmp_path / "mine", 2, size=(20, 40, 3)))
    assert json.loads(json.dumps(splits.record())) == {
        "name": "mine",
        "train": {"count": 2, "pixels": 800, "sources": ["00.png[:, 0:20]", "01.png[:, 0:20]"]},
        "validation": {"count": 2, "pixels": 400, "sources": ["00.png[:, 20:30]", "01.png[:, 20:30]"]},
        "test": {"count": 2, "pixels": 400, "sources": ["00.png[:, 30:40]", "01.png[:, 30:40]"]},
        "notes": ["2 of 2 pictures: color turned to gray (luma); color=True keeps it"],
    }


def test_a_folder_is_called_by_its_name_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path / "mine", 2))
    assert data.load(".").name == "mine"
