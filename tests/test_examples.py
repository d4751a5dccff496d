"""The examples run, and do what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if path.name != "__init__.py")
PROGRAMS = sorted(path.parent.name for path in FOLDER.glob("*/__main__.py"))


def printed(program: str, *options: str) -> str:
    """What a script, or a folder run as ``python -m examples.NAME``, prints in a clone."""
    how = [str(FOLDER / program)] if program.endswith(".py") else ["-m", f"examples.{program}"]
    command = [sys.executable, *how, *options]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=FOLDER.parent).stdout


def test_tiles_equal_the_whole() -> None:
    found = re.search(r"from the whole (\S+)", printed("tiles.py", "--size", "50", "--tile", "16"))
    assert found
    assert float(found[1]) < 1e-6


def test_inside_runs() -> None:
    assert re.search(r"right at \d+\.\d% of the pixels", printed("inside.py", "--steps", "2", "--size", "8"))


def test_every_example_is_tried() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in SCRIPTS if f'"{name}"' not in tests] == []
    assert [name for name in PROGRAMS if f"from examples.{name}" not in tests] == []
    assert "digits" in PROGRAMS


@pytest.mark.parametrize("program", [*SCRIPTS, *PROGRAMS])
def test_help_and_first_lines_say_how_to_run(program: str) -> None:
    assert "--help" in printed(program, "--help")
    file = FOLDER / program if program.endswith(".py") else FOLDER / program / "__main__.py"
    how = f"python examples/{program}" if program.endswith(".py") else f"python -m examples.{program}"
    assert how in file.read_text().split('"""')[1]
