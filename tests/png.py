"""PNG files of kinds that Pillow reads but does not write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

GRAY, COLORS = 0, 2


def write_png(
    path: Path, pixels: NDArray[np.integer], bits: int, kind: int = GRAY, transparent: Sequence[int] = ()
) -> Path:
    """A file of pixels ``(H, W)`` or ``(H, W, C)``, each a number of so many bits; ``transparent`` is one level, or one of each color."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = pixels.shape[:2]
    numbers = pixels.reshape(height, -1, 1).astype(np.int64) >> np.arange(bits - 1, -1, -1) & 1
    rows = np.packbits(numbers.reshape(height, -1).astype(np.uint8), axis=1)
    content = chunk(b"IHDR", struct.pack(">2I5B", width, height, bits, kind, 0, 0, 0))
    if transparent:
        content += chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))
    content += chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path
