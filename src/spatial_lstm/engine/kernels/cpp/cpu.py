"""What this machine's CPU can do."""

from __future__ import annotations

import platform
from pathlib import Path

INFO = Path("/proc/cpuinfo")


def described() -> str:
    """The line of its features, or its name where the system does not list them."""
    try:
        lines = INFO.read_text(encoding="utf-8", errors="replace").splitlines()  # names may be in any encoding
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def features() -> frozenset[str]:
    """Its features, as Linux calls them; none where the system does not list them."""
    _, _, listed = described().partition(":")
    return frozenset(listed.split())
