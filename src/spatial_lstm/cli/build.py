"""Compile the C++ kernel for this machine ahead of its first use."""

from __future__ import annotations

import argparse
import sys
import time

from spatial_lstm.cli.errors import UsageError
from spatial_lstm.engine.kernels.cpp import library
from spatial_lstm.engine.kernels.cpp.compiler import BuildError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--force", action="store_true", help="compile even if it was compiled before")


def run(args: argparse.Namespace) -> int:
    """Say where the library is; 1 if it cannot be compiled.

    Raises:
        UsageError: If it is not provided for here.
    """
    if sys.platform == "win32":
        raise UsageError("the C++ kernel is not provided on Windows, the plain one runs there")
    start = time.perf_counter()
    try:
        built = library.build(force=args.force)
    except BuildError as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    for note in built.notes:
        print(f"build: {note}", file=sys.stderr)
    name = built.library._name.encode(errors="backslashreplace").decode()  # bytes of a path may be no characters
    print(f"{name} ({time.perf_counter() - start:.1f} s)")
    return 0
