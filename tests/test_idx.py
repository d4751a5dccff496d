"""IDX files, as MNIST's: what they hold, how they are divided, and what is wrong with broken ones."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from spatial_lstm.image_models import data

TRAIN, TEST = "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"
PIXELS = np.random.default_rng(0).integers(0, 256, (17, 5, 7), dtype=np.uint8)


def idx(pixels: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([pixels.ndim]) + struct.pack(f">{pixels.ndim}I", *pixels.shape) + pixels.tobytes()


def write(folder: Path, ending: str = "") -> Path:
    """12 images to train on, and 5."""
    folder.mkdir(exist_ok=True)
    for name, pixels in ((TRAIN, PIXELS[:12]), (TEST, PIXELS[12:])):
        (folder / f"{name}{ending}").write_bytes(gzip.compress(idx(pixels)) if ending == ".gz" else idx(pixels))
    return folder


def integers(images: list[torch.Tensor]) -> np.ndarray:
    return (torch.cat(images) * 256).floor().numpy()


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_folder_of_idx_files_is_a_data_set(tmp_path: Path, ending: str) -> None:
    splits = data.load(write(tmp_path / "digits", ending))
    assert [len(splits.part(part)) for part in data.PARTS] == [10, 2, 5]
    for part, pixels in zip(data.PARTS, (PIXELS[:10], PIXELS[10:12], PIXELS[12:]), strict=True):
        assert np.array_equal(integers(splits.part(part)), pixels)
    assert splits.name == "digits"
    assert splits.sources == {
        "train": [f"{TRAIN}{ending}[0:10]"],
        "validation": [f"{TRAIN}{ending}[10:12]"],
        "test": [f"{TEST}{ending}[0:5]"],
    }
    assert splits.limited(3).sources["train"] == [f"the first 3 of {TRAIN}{ending}[0:10]"]
    assert np.array_equal(data.read_idx(tmp_path / "digits" / f"{TRAIN}{ending}"), PIXELS[:12])


def test_a_part_alone_is_that_of_the_whole(tmp_path: Path) -> None:
    splits = data.load(write(tmp_path), seed=3)
    for part in data.PARTS:
        alone = data.load_part(tmp_path, part, seed=3)
        assert torch.equal(torch.cat(alone.images), torch.cat(splits.part(part)))
        assert alone.sources == splits.sources[part]
    assert alone.names == [f"{TEST}[{place}]" for place in range(5)]


def test_a_validation_set_that_is_given_leaves_the_training_file_whole(tmp_path: Path) -> None:
    splits = data.load(write(tmp_path / "a"), validation=write(tmp_path / "b", ".gz"))
    assert splits.sources["train"] == [f"{TRAIN}[0:12]"]
    assert splits.sources["validation"] == [f"{TRAIN}.gz[10:12]"]
    with pytest.raises(ValueError, match="expected parts that share no file, got .* in train and .* in validation"):
        data.load(tmp_path / "a", validation=tmp_path / "a")


def test_what_cannot_be_divided_or_colored_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ValueError, match="expected color=False for .*, whose images are gray"):
        data.load(tmp_path, color=True)
    (tmp_path / TRAIN).write_bytes(idx(PIXELS[:1]))
    with pytest.raises(ValueError, match="expected at least 2 images .* held out for validation, got 1"):
        data.load(tmp_path)
    (tmp_path / TRAIN).unlink()
    with pytest.raises(ValueError, match=r"expected train-images-idx3-ubyte\[\.gz\] beside .*t10k.*, got none"):
        data.load(tmp_path)


WHOLE = idx(PIXELS)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "expected an IDX file of images, which begins with 00000803, .*: it is empty"),
        (b"P5 41 33 255\n" * 9, "it begins with 50352034"),
        (idx(PIXELS[:, 0, 0]) + bytes(16), "1 dimensions instead of 3, as files of labels have"),
        (idx(PIXELS[..., None]), "it has 4 dimensions instead of 3"),
        (gzip.compress(WHOLE), "compressed, though its name does not end in .gz"),
        (WHOLE[:16], "expected 595 bytes of 17 images of 5x7 after the head, got 0"),
        (WHOLE[:-1], "expected 595 bytes .* got 594"),
        (WHOLE + b"\0", "expected 595 bytes .* got more"),
        (idx(PIXELS[:0]), "expected images, got .*, which says 0 images of 5x7"),
        (WHOLE[:4] + b"\xff" * 12, "expected 79,228,162,[0-9,]+ bytes .* got 0"),
    ],
    ids=["empty", "other", "labels", "color", "compressed", "head", "cut", "long", "none", "boasting"],
)
def test_broken_files_are_refused_with_the_reason(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=why):
        data.read_idx(tmp_path / "x")


@pytest.mark.parametrize("content", [WHOLE, gzip.compress(WHOLE)[:-20]], ids=["not compressed", "cut off"])
def test_broken_gzip_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(ValueError, match="expected a whole gzip file, got"):
        data.read_idx(tmp_path / "x.gz")
