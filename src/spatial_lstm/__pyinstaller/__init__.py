"""For PyInstaller, which asks packages by an entry point where their hooks lie."""

from __future__ import annotations

from pathlib import Path


def get_hook_dirs() -> list[str]:
    """The folder of the hook that says what a frozen program needs beside the modules."""
    return [str(Path(__file__).parent)]
