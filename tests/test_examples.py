"""The examples run, and do what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"


def printed(*arguments: str) -> str:
    script, *options = arguments
    command = [sys.executable, str(FOLDER / script), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_tiles_equal_the_whole() -> None:
    found = re.search(r"from the whole (\S+)", printed("tiles.py", "--size", "50", "--tile", "16"))
    assert found
    assert float(found[1]) < 1e-6


def test_inside_runs() -> None:
    assert re.search(r"right at \d+\.\d% of the pixels", printed("inside.py", "--steps", "2", "--size", "8"))


def test_every_example_is_tried() -> None:
    text = Path(__file__).read_text()
    assert [p.name for p in FOLDER.glob("*.py") if f'"{p.name}"' not in text] == []


@pytest.mark.parametrize("script", sorted(p.name for p in FOLDER.glob("*.py")))
def test_help(script: str) -> None:
    assert "--help" in printed(script, "--help")
