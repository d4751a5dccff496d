"""What the commands that train have in common."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

# The shell's status of what Ctrl-C ended.
STOPPED = 130


def require_matplotlib() -> None:
    """Fail now rather than after training.

    Raises:
        ModuleNotFoundError: If it is missing.
    """
    importlib.import_module("matplotlib")


def tell_interrupted(command: str, folder: Path) -> int:
    """Say what is kept in a run's folder and with which command to go on; return the exit status."""
    from spatial_lstm.training import LAST

    how = f"python -m spatial_lstm {command} --resume --out {folder} continues from the last checkpoint"
    print(f"\ninterrupted; {how if (folder / LAST).is_file() else 'before the first checkpoint'}", file=sys.stderr)
    return STOPPED


def tell_diverged(command: str, error: FloatingPointError) -> int:
    """Say that training diverged; return the exit status."""
    print(f"{command}: {error}", file=sys.stderr)
    return 1
