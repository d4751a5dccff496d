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


def described() -> str:
    """The line of its features, or its name where the system does not list them; without a matrix unit that this process may not use."""
    line = _line()
    words = line.split()
    if not TILES.isdisjoint(words) and not grants_tiles():
        return " ".join(word for word in words if word not in TILES)
    return line


def grants_tiles() -> bool:
    """Whether this process may use the matrix unit: Linux is asked, and says yes for good, for all threads and for what is forked."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    try:
        return bool(ctypes.CDLL(None).syscall(*map(ctypes.c_long, _ASK)) == 0)
    except (OSError, AttributeError):
        return False


def _line() -> str:
    try:
        lines = INFO.read_text(encoding="utf-8", errors="replace").splitlines()  # names may be in any encoding
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def features() -> frozenset[str]:
    """Its features, as Linux calls them; none where the system does not list them."""
    _, _, listed = described().partition(":")
    return frozenset(listed.split())
