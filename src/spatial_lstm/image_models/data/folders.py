"""How the pictures of a folder, or of a data set in IDX files, are divided into what to train on, to choose by and to report on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from spatial_lstm.idx import find_idx, read_idx
from spatial_lstm.image_models.data.reading import Part, Reader, picture_files
from spatial_lstm.image_models.data.splits import PARTS
from spatial_lstm.image_models.data.tiles import split_columns

# Names of the folders that are a part of a data set.
FOLDERS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
# One in so many files is held out for a part, and one in so many training images of an IDX file.
HELD_OUT, HELD_OUT_IDX = 10, 6
# Of fewer pictures, columns of each are held out: an eighth if it is as wide as this, so that they are as wide as a tile, else a quarter.
WHOLE_FILES, WIDE = 10, 512
# Columns that are held out at least: a model's smallest patch.
NARROWEST = 8


def folder_parts(source: Path, reader: Reader, given: Mapping[str, Part]) -> dict[str, Part]:
    """The three parts of a folder or of a single picture; those given stand for its own.

    Raises:
        ValueError: If there is no usable picture, or too little to hold a part out of.
    """
    if idx := find_idx(source):
        whole = "validation" in given
        return {part: given[part] if part in given else idx_part(idx, part, reader, whole=whole) for part in PARTS}
    folder, paths = _listed(source)
    files = _by_part(folder, paths, reader) or {"train": paths}
    own = {part: reader.files(part, folder, chosen) for part, chosen in files.items() if part not in given}
    return _hold_out({**own, **given}, reader)


def folder_part(source: Path, part: str, reader: Reader) -> Part:
    """One part of a folder that has parts of its own; else, and of a single picture, all.

    Raises:
        ValueError: If there is no usable picture, or too little to hold the part out of.
    """
    if idx := find_idx(source):
        return idx_part(idx, part, reader)
    folder, paths = _listed(source)
    files = _by_part(folder, paths, reader)
    if not files:
        return reader.files(part, folder, paths)
    if part != "train" and part in files:
        return reader.files(part, folder, files[part])
    return _hold_out({name: reader.files(name, folder, chosen) for name, chosen in files.items()}, reader)[part]


def idx_part(files: Mapping[str, Path], part: str, reader: Reader, *, whole: bool = False) -> Part:
    """A part of a data set in IDX files; ``whole`` if nothing is held out of the training images for validation.

    Raises:
        ValueError: If a file is broken, or color is wanted.
    """
    path = files["test" if part == "test" else "train"]
    if reader.color:
        raise ValueError(f"expected color=False for {path}, whose images are gray, got True")
    pixels = read_idx(path)
    count = len(pixels)
    cut = count if whole or part == "test" else count - max(1, count // HELD_OUT_IDX)
    if not cut:
        raise ValueError(f"expected at least 2 images in {path}, so that one can be held out for validation, got 1")
    start, stop = (cut, count) if part == "validation" else (0, cut)
    found = reader.arrays(part, list(pixels[start:stop]), [f"{path.name}[{place}]" for place in range(start, stop)])
    return replace(found, sources=[f"{path.name}[{start}:{stop}]"], files=[path], whole=(start, stop) == (0, count))


def by_area(pictures: Part) -> dict[str, Part]:
    """Divide each picture from left to right: what to train on, and twice an eighth or a quarter for validation and test.

    Raises:
        ValueError: If one is too narrow.
    """
    cut: dict[str, Part] = {part: replace(pictures, images=[], names=[], whole=False) for part in PARTS}
    for image, name in zip(pictures.images, pictures.names, strict=True):
        height, width = image.shape[1:]
        start = 0
        for part, area in zip(PARTS, split_columns(image, 1 / 8 if width >= WIDE else 1 / 4), strict=True):
            if area.shape[2] < NARROWEST:
                raise ValueError(
                    f"expected {WHOLE_FILES} pictures or more, or such of at least {4 * NARROWEST} columns to hold a quarter of each out, "
                    f"got {len(pictures.images)}, and {name} of {height}x{width} (height x width)"
                )
            cut[part].images.append(area)
            cut[part].names.append(f"{name}[:, {start}:{start + area.shape[2]}]")
            start += area.shape[2]
    return {part: replace(found, sources=found.names) for part, found in cut.items()}


def check_disjoint(parts: Mapping[str, Part]) -> None:
    """Refuse parts that have a file in common, by whatever names.

    Raises:
        ValueError: If there is one.
    """
    owners: dict[tuple[int, int], tuple[str, Part, Path]] = {}
    for name, part in parts.items():
        for path in part.files:
            status = os.stat(path)
            other, owner, other_path = owners.setdefault((status.st_dev, status.st_ino), (name, part, path))
            if other != name and (part.whole or owner.whole):
                raise ValueError(f"expected parts that share no file, got {other_path} in {other} and {path} in {name}")


def _listed(source: Path) -> tuple[Path, list[Path]]:
    """A folder and its pictures, or a picture and the folder it is in."""
    return (source.parent, [source]) if source.is_file() else (source, picture_files(source))


def _by_part(folder: Path, paths: Sequence[Path], reader: Reader) -> dict[str, list[Path]]:
    """The pictures of the folders in a folder that are named like parts; empty if there are none such."""
    tops: dict[str, list[Path]] = {}
    for path in paths:
        inside = path.relative_to(folder).parts
        tops.setdefault(inside[0] if len(inside) > 1 else "", []).append(path)
    found: dict[str, list[Path]] = {}
    for part, names in FOLDERS.items():
        own = [top for top in sorted(tops) if top.lower() in names]
        if len(own) > 1:
            raise ValueError(f"expected one folder for {part} in {folder}, got {' and '.join(own)}")
        if own:
            found[part] = tops[own[0]]
    if found and "train" not in found:
        raise ValueError(f"expected pictures in a folder train beside {', '.join(found)} in {folder}, got none")
    beside = len(paths) - sum(map(len, found.values()))
    if found and beside:
        reader.say(f"{beside} pictures left out, which lie in {folder} but not in its folders for {', '.join(found)}")
    return found


def _hold_out(parts: dict[str, Part], reader: Reader) -> dict[str, Part]:
    """Hold the parts that are missing out of what there is to train on."""
    missing = [part for part in PARTS if part not in parts]
    if not missing:
        return parts
    train = parts["train"]
    count = len(train.images)
    if len(parts) == 1 and count < WHOLE_FILES:
        return by_area(train)
    each = max(1, count // HELD_OUT)
    if count == 1:
        raise ValueError(f"expected at least 2 pictures to train on, one of which is held out for {missing[0]}, got 1")
    order = reader.random["train"].permutation(count).tolist()
    held_out = {part: train.chosen(order[k * each : (k + 1) * each]) for k, part in enumerate(missing)}
    return {**parts, **held_out, "train": train.chosen(order[each * len(missing) :])}
