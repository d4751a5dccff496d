"""The page on sharing does what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from spatial_lstm import importers
from spatial_lstm.cli import COMMANDS, main
from spatial_lstm.handwriting import LineReader

PAGE = (Path(__file__).parents[1] / "docs" / "sharing.md").read_text()
# After the weights of the layer itself and of the commands' models: the Hub, and other programs.
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.S | re.M)
LINES = [line for block in re.findall(r"^```bash\n(.*?)^```$", PAGE, re.S | re.M) for line in block.splitlines()]


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Where code of the page runs, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return {}


def test_a_network(names: dict[str, Any]) -> None:
    pytest.importorskip("huggingface_hub")
    exec(BLOCKS[2], names)
    images = torch.randn(2, 3, 6, 5)
    assert torch.equal(names["same"](images), names["network"](images))


def test_a_trained_model(names: dict[str, Any]) -> None:
    pytest.importorskip("huggingface_hub")
    exec(BLOCKS[3], names)
    assert isinstance(names["reader"], LineReader)
    assert "license: mit" in Path("abc-reader", "README.md").read_text()


def test_weights_of_others(names: dict[str, Any]) -> None:
    exec(BLOCKS[4], names)
    assert len(BLOCKS) == 5
    assert (names["layer"].input_size, names["layer"].hidden_size) == (3, 8)
    assert all(name in PAGE for name in importers.__all__)


@pytest.mark.parametrize("line", LINES)
def test_commands_are_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, command, *rest = shlex.split(line)
    assert program == "spatial-lstm"
    monkeypatch.setattr(COMMANDS[command], "run", lambda args: 7)
    assert main([command, *rest]) == 7
