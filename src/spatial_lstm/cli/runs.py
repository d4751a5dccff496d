"""What the commands that train have in common."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spatial_lstm.cli.errors import UsageError

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
    print(f"\ninterrupted; {_how_to_go_on(command, folder)}", file=sys.stderr)
    return STOPPED


@contextmanager
def system_errors(command: str, folder: Path) -> Iterator[None]:
    """Around a run: what the system refuses, such as a write to a full disk, becomes a :class:`UsageError` that says how to go on."""
    try:
        yield
    except BrokenPipeError:  # of who reads what is printed
        raise
    except OSError as error:
        raise UsageError(f"{error}; {_how_to_go_on(command, folder)}") from error


def tell_diverged(command: str, error: FloatingPointError) -> int:
    """Say that training diverged; return the exit status."""
    print(f"{command}: {error}", file=sys.stderr)
    return 1


def _how_to_go_on(command: str, folder: Path) -> str:
    from spatial_lstm.training import LAST

    if not (folder / LAST).is_file():
        return "before the first checkpoint"
    return f"python -m spatial_lstm {command} --resume --out {folder} continues from the last checkpoint"


def write_result(folder: Path, found: dict[str, Any], more: Mapping[str, Any] | None = None) -> None:
    """Write what there is to report of a run beside the model, and into its file, with what ``more`` this is to hold."""
    from spatial_lstm.files import remove_unfinished, write_atomically
    from spatial_lstm.training import BEST, files

    remove_unfinished(folder / RESULT)
    text = json.dumps(found, indent=1, allow_nan=False) + "\n"
    write_atomically(folder / RESULT, lambda file: file.write(text.encode()))
    files.save(folder / BEST, {**files.read(folder / BEST), "result": json.loads(text), **(more or {})})
