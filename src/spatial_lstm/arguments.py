"""Checks of single arguments that every room makes; imports nothing of the package."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from numbers import Integral
from typing import NoReturn

import torch


def check_positive_int(name: str, value: object) -> None:
    """Refuse anything but a positive int."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"expected {name} to be an int, got {kind(value)}")
    if value < 1:
        raise ValueError(f"expected {name} to be positive, got {value}")


def as_int(name: str, value: object) -> int:
    """The int that a number is, which may be another program's, such as ``np.int64``.

    Raises:
        TypeError: If it is none, or a bool.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"expected {name} to be an int, got {kind(value)}")
    return int(value)


def as_positive_int(name: str, value: object) -> int:
    """The same of one that is positive.

    Raises:
        TypeError: If it is no int.
        ValueError: If it is not positive.
    """
    found = as_int(name, value)
    check_positive_int(name, found)
    return found


def as_positive_ints(values: Mapping[str, object]) -> dict[str, int]:
    """The same of several, by their names."""
    return {name: as_positive_int(name, value) for name, value in values.items()}


def as_count(name: str, value: object) -> int:
    """The same of one that may be zero.

    Raises:
        TypeError: If it is no int.
        ValueError: If it is negative.
    """
    found = as_int(name, value)
    if found < 0:
        raise ValueError(f"expected {name} of at least 0, got {found}")
    return found


def check_flag(name: str, value: object) -> None:
    """Refuse anything but a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"expected {name} to be a bool, got {kind(value)}")


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Refuse anything but one of some strings; of another kind of object, such as a list, a dictionary cannot even be asked."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"expected {name} to be one of {tuple(choices)}, got {value!r}")


def kind(value: object) -> str:
    """What type of object it is, with the module of a type that is not Python's own: NumPy has a ``bool``, too."""
    own = type(value)
    return own.__name__ if own.__module__ == "builtins" else f"{own.__module__}.{own.__name__}"


def check_probability(name: str, value: object) -> None:
    """Refuse anything but a number from 0 to 1."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"expected {name} to be a float, got {type(value).__name__}")
    if not 0 <= value <= 1:
        raise ValueError(f"expected {name} from 0 to 1, got {value}")


def names_data_set(source: object, names: Collection[str]) -> bool:
    """Whether a text is one of the names of data sets, rather than a path.

    Raises:
        ValueError: If it is both: which one is meant cannot be told.
    """
    if not (isinstance(source, str) and source in names):
        return False
    if os.path.exists(source):
        how = f"write ./{source} for the path, or change to a folder without it"
        raise ValueError(f"expected a data set or a path, got {source!r}, which is both here: {how}")
    return True


def refuse_other(name: str, value: object, layer: str = "SpatialLSTM", wanted: str = "a Tensor") -> NoReturn:
    """Refuse what should be something else, and say what to do where torch.fx traces what is in a layer of that class."""
    if isinstance(value, torch.fx.Proxy):
        raise TypeError(
            f"expected {name} with values, got a Proxy: torch.fx cannot trace what is in a layer; make it a leaf of the module around it, "
            f"as by leaf_modules=[{layer}] (torchvision) or set_non_traceable_module_classes([{layer}]) (torch.ao.quantization)"
        )
    raise TypeError(f"expected {name} to be {wanted}, got {kind(value)}")
