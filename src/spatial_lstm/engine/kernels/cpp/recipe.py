"""What the library is made of: its source, the flags that it is always compiled with, and the builds that a wheel brings.

The standard library alone is imported here, since ``setup.py`` reads this file where nothing is installed.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).parent / "source"
# The file that is compiled when the library is linked, and those that are before, a type of numbers each.
KERNEL, PARTS = SOURCE / "kernel.cpp", tuple(SOURCE / f"{name}.cpp" for name in ("float32", "float64", "bfloat16"))
FLAGS = ("-std=c++17", "-O2", "-fno-math-errno", "-fPIC", "-fvisibility=hidden")
# Where a process may use the CPU's matrix unit, and where products of pairs, which the CPU may have, are not to be used.
TILES, NO_PAIRS = "-DSPATIAL_LSTM_TILES", "-DSPATIAL_LSTM_NO_PAIRS"
# Where a wheel has its builds, and notes the digest of the source that they are of.
PREBUILT = Path(__file__).parent / "prebuilt"
NOTE = "source.sha256"


class Build(NamedTuple):
    """One that a wheel brings.

    Attributes:
        machine: The kind of CPU it is for, as :func:`platform.machine` on Linux calls it.
        name: In its file's name.
        flags: What it is compiled with besides :data:`FLAGS`.
        in_16_bits: And what bfloat16 is, besides these.
        needs: The features that a CPU must have, as Linux calls them.
    """

    machine: str
    name: str
    flags: tuple[str, ...]
    in_16_bits: tuple[str, ...]
    needs: frozenset[str]

    @property
    def files(self) -> str:
        """The pattern of its files' names, which no other source has; those of modules, since tools that check wheels ask for that."""
        return f"{self.name}_{wanted_digest()[:12]}_*.so"

    def file(self, library: bytes) -> str:
        """The name of its file with this content."""
        return self.files.replace("*", short_digest(library))


# x86-64-v3 and x86-64-v4, as the processor's interface defines them.
_V3 = frozenset(
    "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe xsave".split()  # noqa: SIM905
)
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_V4_BF16 = _V4 | {"avx512_bf16"}
_AVX512_FLAGS, _BF16_FLAGS = ("-march=x86-64-v4",), ("-mavx512bf16",)
_AMX_FLAGS = ("-mamx-tile", "-mamx-bf16", TILES)
# The fastest first.
BUILDS = (
    Build("x86_64", "amx", _AVX512_FLAGS, _BF16_FLAGS + _AMX_FLAGS, _V4_BF16 | {"amx_tile", "amx_bf16"}),
    Build("x86_64", "avx512_bf16", _AVX512_FLAGS, _BF16_FLAGS, _V4_BF16),
    Build("x86_64", "avx512", _AVX512_FLAGS, (), _V4),
    Build("x86_64", "avx2", ("-march=x86-64-v3",), (), _V3),
    Build("aarch64", "neon", (), (), frozenset()),  # every CPU of 64-bit ARM has NEON
)


def short_digest(content: bytes) -> str:
    """SHA-256, as much as names hold. A library's name ends with that of its content: a damaged one is known before it is loaded."""
    return hashlib.sha256(content).hexdigest()[:12]


@functools.cache
def source_digest() -> str:
    """Of the names and contents of the source's files.

    Raises:
        OSError: If they are not installed, or not as files: zip files and frozen programs may have the package's modules alone.
    """
    digest = hashlib.sha256()
    for file in sorted(SOURCE.iterdir()):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def wanted_digest() -> str:
    """That of the source which a wheel's builds are to be of: the one that is installed, else the one that the wheel notes.

    Raises:
        OSError: If there is neither.
    """
    try:
        return source_digest()
    except OSError:
        return (PREBUILT / NOTE).read_text(encoding="ascii")
