"""What is told in one line, and what keeps its traceback."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class UsageError(Exception):
    """What was asked for cannot be done, for a reason that the user can mend; told in one line."""


@contextmanager
def input_errors() -> Iterator[None]:
    """Around what reads and checks input: its errors become a :class:`UsageError`.

    Around a computation it has no place: an error there is one of the program's, and whoever looks for it needs the traceback.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error
    except ModuleNotFoundError as error:
        if error.name is not None:
            raise
        raise UsageError(str(error)) from error


def print_anything() -> None:
    """Let characters that the terminal's or a file's encoding does not have be printed as escapes: what was computed is not lost."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def plain_warnings(command: str) -> Iterator[None]:
    """Around a command: warnings are told in one line, without their place in the source."""
    shown = warnings.showwarning
    warnings.showwarning = lambda message, *_, **__: print(f"{command}: {message}", file=sys.stderr)
    try:
        yield
    finally:
        warnings.showwarning = shown
