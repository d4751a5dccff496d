"""The reference's gradients: against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from spatial_lstm import reference
from tests.reference_cases import EXACT, SHAPES, SIZES, Array, arguments, costs, every_case, every_cell

DIFFERENCE = 1e-8  # a central difference of step 1e-5, whose error is of order 1e-10


def cost(result: reference.Forward, grads: dict[str, Any]) -> float:
    """The cost whose gradients are ``grads``."""
    total = (result.h * grads["grad_h"]).sum() + (result.c * grads["grad_c"]).sum()
    for part, grad in zip(result.state, grads["grad_state"], strict=True):
        total += sum((face * g).sum() for face, g in zip(part, grad, strict=True))
    return float(total)


def leaves(given: dict[str, Any], gradients: reference.Gradients) -> Iterator[tuple[str, Array, Array]]:
    """Name, value and gradient of everything that has one."""
    for name in ("x", "weight_ih", "weight_hh", "bias", "weight_peephole", "weight_ch"):
        gradient = getattr(gradients, name)
        assert (gradient is not None) == (name in given)
        if name in given:
            yield name, given[name], gradient
    for letter, part, grads in zip("hc", given["state"], gradients.state, strict=True):
        for k, (face, grad) in enumerate(zip(part, grads, strict=True)):
            yield f"{letter} of face {k}", face, grad


def slope(evaluate: Callable[[], float], value: Array, along: Array) -> float:
    """The derivative of the cost when ``value`` moves ``along``, by a central difference."""
    before, step = value.copy(), 1e-5
    value += step * along
    above = evaluate()
    value[...] = before - step * along
    below = evaluate()
    value[...] = before
    return (above - below) / (2 * step)


@every_case
@pytest.mark.parametrize("sized", [False, True], ids=["full", "sizes"])
def test_gradients_are_those_of_finite_differences(cell: str, direction: str, sized: bool) -> None:
    n = len(direction)
    given = arguments(cell, direction, SHAPES[n]) | ({"sizes": np.array(SIZES[n])} if sized else {})
    result = reference.forward(**given)
    grads = costs(result)
    rng = np.random.default_rng(1)
    for name, value, gradient in leaves(given, reference.backward(result, **grads)):
        along = rng.normal(size=value.shape)
        expected = slope(lambda: cost(reference.forward(**given), grads), value, along)
        scale = 1 + np.abs(gradient * along).sum()
        assert abs((gradient * along).sum() - expected) < DIFFERENCE * scale, name


@every_cell
def test_every_entry_of_every_gradient(cell: str) -> None:
    given = arguments(cell, "fr", (2, 2), batch=1)
    result = reference.forward(**given)
    grads = costs(result)
    for name, value, gradient in leaves(given, reference.backward(result, **grads)):
        for entry in np.ndindex(value.shape):
            along = np.zeros(value.shape)
            along[entry] = 1
            expected = slope(lambda: cost(reference.forward(**given), grads), value, along)
            assert abs(gradient[entry] - expected) < DIFFERENCE * (1 + np.abs(gradient).max()), (name, entry)


@every_cell
def test_a_gradient_that_is_not_given_is_zero(cell: str) -> None:
    result = reference.forward(**arguments(cell, "ff", (2, 3)))
    full = costs(result)
    names = ("grad_h", "grad_c", "grad_state")
    parts = [reference.backward(result, **{name: full[name]}).weight_hh for name in names]
    np.testing.assert_allclose(sum(parts), reference.backward(result, **full).weight_hh, rtol=EXACT, atol=EXACT)
