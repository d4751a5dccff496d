"""Arrays of others, checked, and from there to a layer's weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatial_lstm import SpatialLSTM
from spatial_lstm.arguments import kind

Array = NDArray[np.floating[Any]]
# Of others, what they take where this package takes i, f_0, f_1, g, o or i, f, l, g, o: the place of each.
Order = Sequence[int]


def as_array(name: str, value: object) -> Array:
    """An array of floating point numbers.

    Raises:
        TypeError: If it is none.
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value  # which numpy does not know
        found = value.numpy()
    else:
        found = np.asarray(value)
    if found.dtype == np.longdouble:
        raise TypeError(f"expected {name} to have at most 64 bits a number, got {found.dtype}")
    if not np.issubdtype(found.dtype, np.floating):
        raise TypeError(f"expected {name} to be an array of floating point numbers, got {found.dtype}")
    return found.astype(found.dtype.newbyteorder("="), copy=False)  # torch knows no other byte order


def check_mapping(name: str, value: object) -> None:
    """Refuse anything but arrays by their names.

    Raises:
        TypeError: If it is something else.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"expected {name} to be a mapping from names to arrays, got {kind(value)}")


def check_shape(name: str, array: Array, shape: tuple[int, ...], why: str) -> None:
    """Refuse an array of another shape.

    Raises:
        ValueError: If it is one.
    """
    if array.shape != shape:
        raise ValueError(f"expected {name} of shape {shape}, {why}, got {array.shape}")


def common_dtype(arrays: Iterable[Array]) -> torch.dtype:
    """The dtype of parameters that hold all of these exactly."""
    dtype = np.result_type(*(array.dtype for array in arrays))
    return torch.from_numpy(np.zeros(0, dtype)).dtype


def fill(layer: SpatialLSTM, arrays: Mapping[str, Array]) -> SpatialLSTM:
    """Copy arrays into the parameters of their names, which are all that the layer has; return the layer."""
    for name, parameter in layer.named_parameters():
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(arrays[name].copy()))  # others' may be read-only
    return layer


def named(arrays: Mapping[str, Array], direction: str) -> dict[str, Array]:
    """The weights of a direction of an image's only layer, by the names of the layer's parameters."""
    suffix = "" if "r" not in direction else f"_{direction}"
    return {f"{name}_l0{suffix}": array for name, array in arrays.items()}


def from_columns(bias: Array, x: Array, above: Array, left: Array, order: Order) -> dict[str, Array]:
    """Weights of a layer on images from matrices that are multiplied from the right.

    Args:
        bias: ``(5, h)``.
        x: ``(C, 5, h)``, of the input.
        above: ``(h, 5, h)``, of what comes along axis 0.
        left: ``(h, 5, h)``, along axis 1.
        order: Where in these the gates are that belong first, second, .. here.
    """

    def rows(matrix: Array) -> Array:
        return matrix[:, list(order)].reshape(len(matrix), -1).T  # (5 h, inputs)

    hidden = np.concatenate([rows(above), rows(left)], axis=1)
    return {"weight_ih": rows(x), "weight_hh": hidden, "bias": bias[list(order)].reshape(-1)}
