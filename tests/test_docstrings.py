"""What the docstrings show does what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import spatial_lstm

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
