"""What the README and the docstrings show does what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest
import torch

import spatial_lstm

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_ten_lines() -> None:
    code = re.findall(r"^```python\n(.*?)^```$", README, re.S | re.M)
    names: dict[str, torch.Tensor] = {}
    exec(code[0], names)
    whole = names["tile"](names["images"])[0]  # type: ignore[operator]
    assert torch.equal(names["output"], whole[..., 30:])


def test_ride_lines() -> None:
    code = re.findall(r"^```python\n(.*?)^```$", README, re.S | re.M)
    names: dict[str, torch.Tensor] = {}
    exec(code[1], names)
    assert names["nats"].shape == (8,)
    assert names["samples"].shape == (2, 1, 32, 32)
    assert torch.isfinite(names["samples"]).all()


def test_two_blocks_of_commands() -> None:
    blocks = re.findall(r"^```bash\n(.*?)^```$", README, re.S | re.M)
    assert len(blocks) == 2
    assert blocks[0].rstrip().endswith("python -m spatial_lstm")
    assert blocks[1].rstrip().endswith("python -m pytest")


MODULES = [
    module.name
    for module in pkgutil.walk_packages(spatial_lstm.__path__, "spatial_lstm.")
    if "__main__" not in module.name
]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"{name} needs an extra: {error}")
    assert doctest.testmod(module).failed == 0
