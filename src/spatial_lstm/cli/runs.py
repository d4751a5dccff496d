"""What the commands that train have in common."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# The shell's status of what Ctrl-C ended.
STOPPED = 130
RESULT = "result.json"


def require(*modules: str) -> None:
    """Fail now rather than after training.

    Raises:
        ModuleNotFoundError: If one is missing.
    """
    for name in modules:
        importlib.import_module(name)


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


def write_result(folder: Path, found: dict[str, Any], more: Mapping[str, Any] | None = None) -> None:
    """Write what there is to report of a run beside the model, and into its file, with what ``more`` this is to hold."""
    from spatial_lstm.files import remove_unfinished, write_atomically
    from spatial_lstm.training import BEST, files

    remove_unfinished(folder / RESULT)
    text = json.dumps(found, indent=1, allow_nan=False) + "\n"
    write_atomically(folder / RESULT, lambda file: file.write(text.encode()))
    files.save(folder / BEST, {**files.read(folder / BEST), "result": json.loads(text), **(more or {})})
