"""IDX files, the format of MNIST and its likes: a head of big-endian numbers, then the bytes of all images or labels."""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

# Two zeros and the code of unsigned bytes; the number of dimensions follows.
MAGIC = b"\x00\x00\x08"
HOLDS = {1: "labels", 3: "images"}
# The files of a data set, by what they are for; each may be compressed by gzip.
STEMS = {"train": "train-images", "test": "t10k-images"}
ENDINGS = ("-idx3-ubyte", ".idx3-ubyte", "-idx3-ubyte.gz", ".idx3-ubyte.gz")


def find_idx(folder: Path) -> dict[str, Path]:
    """The files ``train-images-idx3-ubyte`` and ``t10k-images-idx3-ubyte`` of a folder, or of those names and ``.gz``, by their parts.

    Returns:
        ``{"train": path, "test": path}``, or an empty dict if neither is there.

    Raises:
        ValueError: If one is there without the other.
    """
    found = {
        part: paths[0]
        for part, stem in STEMS.items()
        if (paths := [path for ending in ENDINGS if (path := folder / f"{stem}{ending}").is_file()])
    }
    if len(found) == 1:
        ((part, path),) = found.items()
        other = STEMS["test" if part == "train" else "train"]
        raise ValueError(f"expected {other}-idx3-ubyte[.gz] beside {path}, got none")
    return found


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read images ``(N, H, W)``; a name that ends in ``.gz`` means a compressed file.

    Raises:
        ValueError: If the file is broken, or holds something else than images of bytes.
    """
    return _opened(path, 3)


def read_labels(images: Path) -> NDArray[np.uint8]:
    """Read the labels ``(N,)`` of the images in a file, which lie beside it: ``train-labels-idx1-ubyte`` or the like, perhaps ``.gz``.

    Raises:
        ValueError: If there is no such file, it is broken, or it holds something else than bytes.
    """
    stem = re.sub(r"images([-.])idx3-ubyte(\.gz)?$", r"labels\1idx1-ubyte", images.name)
    found = [path for name in (stem, f"{stem}.gz") if (path := images.with_name(name)).is_file() and path != images]
    if not found:
        raise ValueError(f"expected {stem}[.gz] beside {images}, got none")
    return _opened(found[0], 1)


def _opened(path: Path, dims: int) -> NDArray[np.uint8]:
    compressed = path.suffix == ".gz"
    try:
        with gzip.open(path) if compressed else path.open("rb") as file:
            return _parse(cast(BinaryIO, file), path, dims)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"expected a whole gzip file, got {path}: {error}") from error


def _parse(file: BinaryIO, path: Path, dims: int) -> NDArray[np.uint8]:
    magic, what, length = MAGIC + bytes([dims]), HOLDS[dims], 4 + 4 * dims
    head = file.read(length)
    if len(head) < length or head[:4] != magic:
        raise ValueError(
            f"expected an IDX file of {what}, which begins with {magic.hex()}, got {path}: {_told(head, dims)}"
        )
    shape = struct.unpack(f">{dims}I", head[4:])
    told = f"{shape[0]:,} {what}" + (f" of {shape[1]}x{shape[2]}" if dims == 3 else "")
    size = math.prod(shape)
    if not size:
        raise ValueError(f"expected {what}, got {path}, which says {told}")
    data = _read(file, size + 1)
    if len(data) != size:
        got = f"{len(data):,}" if len(data) < size else "more"
        raise ValueError(f"expected {size:,} bytes of {told} after the head, got {got}: {path}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _read(file: BinaryIO, size: int, at_once: int = 1 << 24) -> bytearray:
    """At most so many bytes: what the head claims is not set aside before it is there."""
    data = bytearray()
    while piece := file.read(min(at_once, size - len(data))):
        data += piece
    return data


def _told(head: bytes, dims: int) -> str:
    """What a head is instead."""
    if head[:3] == MAGIC and len(head) >= 4 and head[3] != dims:
        other = HOLDS.get(head[3])
        return f"it has {head[3]} dimensions instead of {dims}" + (f", as files of {other} have" if other else "")
    if head[:2] == b"\x1f\x8b":
        return "it is compressed, though its name does not end in .gz"
    return f"it begins with {head[:4].hex()}" if head else "it is empty"
