"""IDX files, the format of MNIST and its likes: a head of big-endian numbers, then the bytes of all images."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

# Two zeros, the code of unsigned bytes, and the number of dimensions.
MAGIC = b"\x00\x00\x08\x03"
HEAD = 16
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
    compressed = path.suffix == ".gz"
    try:
        with gzip.open(path) if compressed else path.open("rb") as file:
            return _parse(cast(BinaryIO, file), path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"expected a whole gzip file, got {path}: {error}") from error


def _parse(file: BinaryIO, path: Path) -> NDArray[np.uint8]:
    head = file.read(HEAD)
    if len(head) < HEAD or head[:4] != MAGIC:
        raise ValueError(f"expected an IDX file of images, which begins with {MAGIC.hex()}, got {path}: {_told(head)}")
    count, height, width = struct.unpack(">3I", head[4:])
    size = math.prod((count, height, width))
    if not size:
        raise ValueError(f"expected images, got {path}, which says {count} of {height}x{width}")
    data = _read(file, size + 1)
    if len(data) != size:
        got = f"{len(data):,}" if len(data) < size else "more"
        raise ValueError(
            f"expected {size:,} bytes of {count:,} images of {height}x{width} after the head, got {got}: {path}"
        )
    return np.frombuffer(data, np.uint8).reshape(count, height, width)


def _read(file: BinaryIO, size: int, at_once: int = 1 << 24) -> bytearray:
    """At most so many bytes: what the head claims is not set aside before it is there."""
    data = bytearray()
    while piece := file.read(min(at_once, size - len(data))):
        data += piece
    return data


def _told(head: bytes) -> str:
    """What a head is instead."""
    if head[:3] == MAGIC[:3] and len(head) >= 4:
        return f"it has {head[3]} dimensions instead of 3" + (", as files of labels have" if head[3] == 1 else "")
    if head[:2] == b"\x1f\x8b":
        return "it is compressed, though its name does not end in .gz"
    return f"it begins with {head[:4].hex()}" if head else "it is empty"
