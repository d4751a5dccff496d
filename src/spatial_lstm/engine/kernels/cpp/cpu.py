"""What this machine's CPU can do."""

from __future__ import annotations

import ctypes
import platform
import sys
from pathlib import Path

INFO = Path("/proc/cpuinfo")
# AMX, a matrix unit: what Linux calls it, and how it is asked for it (arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
TILES = frozenset({"amx_tile", "amx_bf16"})
_ASK = (158, 0x1023, 18)
# The instruction that multiplies pairs of 16-bit numbers.
PAIRS = "avx512_bf16"


def described() -> str:
    """The line of its features, or its name where the system does not list them; without what is of no use here.

    That is a matrix unit which the system denies this process, and without one, on Intel's CPUs, products of pairs. Those take Zen half the
    time of float32's, and a Xeon (family 6, model 207) twice that; there layers in bfloat16 take 0.5 to 0.74 of the time without them.
    """
    lines = _lines()
    line = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    words = line.split()
    tiles = TILES.issubset(words) and grants_tiles()
    useless = set() if tiles else set(TILES)
    if not tiles and any(line.startswith("vendor_id") and line.endswith("GenuineIntel") for line in lines):
        useless.add(PAIRS)
    return line if useless.isdisjoint(words) else " ".join(word for word in words if word not in useless)


def grants_tiles() -> bool:
    """Whether this process may use the matrix unit: Linux is asked, and says yes for good, for all threads and for what is forked."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    try:
        return bool(ctypes.CDLL(None).syscall(*map(ctypes.c_long, _ASK)) == 0)
    except (OSError, AttributeError):
        return False


def _lines() -> list[str]:
    """What the system says of it, nothing where it says nothing."""
    try:
        return INFO.read_text(encoding="utf-8", errors="replace").splitlines()  # names may be in any encoding
    except OSError:
        return []


def features() -> frozenset[str]:
    """Its features that are of use, as Linux calls them; none where the system does not list them."""
    _, _, listed = described().partition(":")
    return frozenset(listed.split())
