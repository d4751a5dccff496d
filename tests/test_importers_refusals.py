"""Weights of other programs: what does not fit is refused, and what is given is left as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from spatial_lstm.importers import from_keras, from_returnn, from_ride, from_rnn2d
from tests.foreign_weights import PARAMETERS, Array, D, K, draw, keras_weights, returnn_parameters, ride_parameters


def without(arrays: dict[str, Array], name: str, **more: Array) -> dict[str, Array]:
    return {**{key: array for key, array in arrays.items() if key != name}, **more}


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "keras-count": (lambda: from_keras([np.zeros((3, 8))]), "expected 2 or 3 arrays of an LSTM, or 4 or 6 .*, got 1"),
    "keras-kernel": (lambda: from_keras([np.zeros((3, 9)), np.zeros((2, 8))]), r"\(inputs, 4 \* units\), got \(3, 9\)"),
    "keras-cudnn-bias": (
        lambda: from_keras([*keras_weights()[:2], np.zeros(16)]),
        r"expected bias of shape \(8,\), of 3 inputs and 2 units, got \(16,\)",
    ),
    "keras-transposed": (lambda: from_keras([w.T for w in keras_weights()]), "got"),
    "rnn2d-length": (lambda: from_rnn2d(np.zeros(PARAMETERS + 1), D, layout="y-first"), "expected 4 .1 .* parameters"),
    "rnn2d-hidden": (lambda: from_rnn2d(np.zeros(PARAMETERS), 0, layout="y-first"), "got 320 of hidden_size=0"),
    "rnn2d-layout": (lambda: from_rnn2d(np.zeros(PARAMETERS), D, layout="new"), "one of y-first, x-first, got 'new'"),
    "rnn2d-list": (lambda: from_rnn2d(np.zeros(PARAMETERS), D, layout=[]), "one of y-first, x-first, got \\[\\]"),  # type: ignore[arg-type]
    "rnn2d-halved": (
        lambda: from_rnn2d(np.zeros(PARAMETERS), D, layout="x-first", cell="halved"),
        "graves, got 'halved'; a cell that halves its forget terms is none of this package's",
    ),
    "rnn2d-stable-later": (
        lambda: from_rnn2d(np.zeros(PARAMETERS), D, layout="x-first"),
        "expected a cell of layout 'x-first', graves, got 'stable'",
    ),
    "returnn-missing": (lambda: from_returnn(without(returnn_parameters(), "U3")), "expected the arrays U1, .* got"),
    "returnn-strange": (
        lambda: from_returnn(without(returnn_parameters(), "", re=np.zeros(1))),
        "expected the arrays .* of one layer, got W1, .* re",
    ),
    "returnn-numbered": (
        lambda: from_returnn({1: np.zeros(3)}),  # type: ignore[dict-item]
        "expected the arrays .* of one layer, got 1$",
    ),
    "returnn-twice": (
        lambda: from_returnn(without(returnn_parameters(), "", W1_other=np.zeros((K, 5 * D)))),
        "expected the arrays .* of one layer",
    ),
    "returnn-shape": (
        lambda: from_returnn(without(returnn_parameters(), "V2", V2=np.zeros((D + 1, 5 * D)))),
        r"expected V2 of shape \(2, 10\), of 3 inputs and 2 units, got \(3, 10\)",
    ),
    "returnn-four-gates": (
        lambda: from_returnn(without(returnn_parameters(), "W1", W1=np.zeros((K, 4 * D)))),
        r"expected W1 of shape \(inputs, 5 \* units\), got \(3, 8\)",
    ),
    "ride-none": (lambda: from_ride([]), "expected the parameters of at least one layer, got none"),
    "ride-missing": (
        lambda: from_ride(without(ride_parameters(K, False), "W_f_j")),
        "expected the arrays W_i, b_i, .*",
    ),
    "ride-narrow": (
        lambda: from_ride(ride_parameters(K, False), extended=True),
        r"inputs \+ 4 \* hidden\), got \(2, 7\)",
    ),
    "ride-number": (
        lambda: from_ride(without(ride_parameters(K, False), "W_i", W_i=np.float64(1))),
        r"expected W_i of shape \(hidden, inputs \+ 2 \* hidden\), got \(\)",
    ),
    "ride-columns": (
        lambda: from_ride(without(ride_parameters(K, False), "b_i", b_i=np.zeros((D, 1)))),
        r"expected b_i of shape \(2,\), of 2 units, got \(2, 1\)",
    ),
    "ride-upper-layer": (
        lambda: from_ride([ride_parameters(K, False), ride_parameters(K, False)]),
        r"expected W_i of shape \(2, 6\), of 2 inputs and 2 units, got \(2, 7\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name: str) -> None:
    call, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        call()


MAPPING = "to be a mapping from names to arrays, got"
ARRAYS = r"expected weights to be arrays, as layer\.get_weights\(\) returns them, got"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: from_keras(None), f"{ARRAYS} NoneType"),  # type: ignore[arg-type]
        (lambda: from_keras(torch.nn.Identity()), f"{ARRAYS} torch.nn.modules.linear.Identity"),  # type: ignore[arg-type]
        (lambda: from_returnn(None), f"expected parameters {MAPPING} NoneType"),  # type: ignore[arg-type]
        (lambda: from_returnn([np.zeros(3)]), f"expected parameters {MAPPING} list"),  # type: ignore[arg-type]
        (lambda: from_ride(None), rf"expected layers\[0\] {MAPPING} NoneType"),  # type: ignore[arg-type]
        (
            lambda: from_ride([ride_parameters(K, False), 1]),  # type: ignore[list-item]
            rf"expected layers\[1\] {MAPPING} int",
        ),
    ],
    ids=["keras-none", "keras-layer", "returnn-none", "returnn-list", "ride-none", "ride-number"],
)
def test_what_holds_no_arrays_is_refused(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        call()


@pytest.mark.parametrize(("hidden", "name"), [(3.0, "float"), (True, "bool")])
def test_units_that_are_no_int(hidden: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"expected hidden_size to be an int, got {name}"):
        from_rnn2d(np.zeros(PARAMETERS), hidden, layout="y-first")


def test_units_may_be_an_int_of_numpy() -> None:
    assert from_rnn2d(np.zeros(PARAMETERS), np.int64(D), layout="y-first").hidden_size == D


def test_integers_are_no_weights() -> None:
    with pytest.raises(TypeError, match=r"expected weights\[0\] to be an array of floating point numbers, got int64"):
        from_keras([np.zeros((3, 8), np.int64), np.zeros((2, 8))])


def test_numbers_of_more_bits_than_torch_has_are_refused() -> None:
    with pytest.raises(
        TypeError, match=r"expected weights\[0\] to have at most 64 bits a number, got (longdouble|float128)"
    ):
        from_keras([draw(0, 3, 8).astype(np.longdouble), draw(1, 2, 8)])


def test_arrays_that_must_not_be_written_are_read() -> None:
    """Such as JAX gives, or a memory map."""
    arrays = [draw(0, K, 4 * D), draw(1, D, 4 * D), draw(2, 4 * D)]
    for array in arrays:
        array.flags.writeable = False
    layer = from_keras(arrays)
    with torch.no_grad():
        layer.bias_l0.zero_()
    assert arrays[2].any()


def test_bfloat16_becomes_float32() -> None:
    given = [torch.from_numpy(draw(k, *shape)).bfloat16() for k, shape in enumerate([(K, 4 * D), (D, 4 * D)])]
    layer = from_keras(given)
    assert torch.equal(layer.weight_ih_l0, given[0].float().T)
