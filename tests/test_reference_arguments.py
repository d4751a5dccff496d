"""The reference's small print: what may be left out, types, extremes, what is refused, and that it stands alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spatial_lstm import reference
from tests.reference_cases import arguments


def test_faces_that_are_none_are_zeros_and_bias_may_be_missing() -> None:
    given = arguments("graves", "fr", (2, 3)) | {"bias": None}
    h, c = given["state"]
    some = reference.forward(**(given | {"state": ([None, h[1]], [c[0], None])}))
    zeros = reference.forward(**(given | {"state": ([0 * h[0], h[1]], [c[0], 0 * c[1]])}))
    np.testing.assert_array_equal(some.h, zeros.h)
    gradients = reference.backward(some, some.h)
    assert gradients.bias is None
    assert np.abs(gradients.state.h[0]).max() > 0  # a near face that was None has its gradient all the same


def test_computes_in_the_dtype_of_x() -> None:
    given = arguments("stable", "ff", (2, 3))
    result = reference.forward(**(given | {"x": given["x"].astype(np.float32)}))
    gradients = reference.backward(result, result.h)
    arrays = [result.h, result.c, result.gates, *result.state.h, gradients.x, gradients.weight_hh, gradients.state.c[1]]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    np.testing.assert_allclose(result.h, reference.forward(**given).h, atol=1e-5)


def test_large_arguments_overflow_nowhere() -> None:
    given = arguments("stable", "ff", (2, 3))
    result = reference.forward(**(given | {"x": 1e4 * given["x"]}))
    assert np.isfinite(result.h).all()
    assert np.isfinite(reference.backward(result, result.h).weight_hh).all()


def test_no_images_give_no_output_and_zero_gradients() -> None:
    given = arguments("spatial", "ff", (2, 3), batch=0)
    result = reference.forward(**given)
    assert result.h.shape == (0, 2, 2, 3)
    assert not reference.backward(result).weight_hh.any()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "cell": ({"cell": "cubic"}, "expected cell to be one of"),
    "peephole": ({"weight_peephole": np.zeros((5, 2))}, "expected no weight_peephole"),
    "extended": ({"cell": "stable", "weight_ch": np.zeros((10, 4))}, "expected no weight_ch"),
    "axes": ({"weight_hh": np.zeros((11, 4))}, "expected weight_hh of shape"),
    "dtype": ({"x": np.zeros((2, 3, 2, 3), int)}, "expected x of a floating dtype"),
    "rank": ({"x": np.zeros((2, 3, 4))}, "expected weight_hh of shape"),
    "no axis": ({"x": np.zeros((2, 3))}, "expected x of shape"),
    "extent": ({"x": np.zeros((2, 3, 0, 3))}, "expected x of shape .* of extents of at least 1"),
    "channels": ({"weight_ih": np.zeros((10, 2))}, "expected weight_ih of shape"),
    "bias": ({"bias": np.zeros(9)}, "expected bias of shape"),
    "direction": ({"direction": "fx"}, "expected direction to be 2 letters"),
    "faces": ({"state": ([None], [None])}, "expected state to be a pair"),
    "face": ({"state": ([None, np.zeros((2, 2, 3))], [None, None])}, r"expected state.h\[1\] of shape"),
    "sizes": ({"sizes": np.ones((2, 3), int)}, "expected sizes of integers and shape"),
    "float sizes": ({"sizes": np.ones((2, 2))}, "expected sizes of integers and shape"),
    "sizes beyond": ({"sizes": np.array([[2, 3], [3, 3]])}, "expected sizes from 1 to"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_arguments_are_refused(wrong: str) -> None:
    changes, message = WRONG[wrong]
    with pytest.raises(ValueError, match=message):
        reference.forward(**(arguments("spatial", "ff", (2, 3)) | changes))


def test_wrong_gradients_are_refused() -> None:
    result = reference.forward(**arguments("spatial", "ff", (2, 3)))
    with pytest.raises(ValueError, match="expected grad_h of shape"):
        reference.backward(result, np.zeros((2, 2, 3, 2)))
    with pytest.raises(ValueError, match=r"expected grad_state.c\[0\] of shape"):
        reference.backward(result, grad_state=([None, None], [np.zeros(3), None]))


def test_it_stands_alone() -> None:
    """Loaded from its folder, it brings in neither torch nor the rest of the package."""
    folder = Path(reference.__file__).parent
    program = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("alone", {str(folder / "__init__.py")!r}, submodule_search_locations=[{str(folder)!r}])
module = sys.modules["alone"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.forward([[[1.0]]], [[1.0]] * 4, [[1.0]] * 4)
sys.exit(bool({{"torch", "spatial_lstm"}} & set(sys.modules)))
"""
    subprocess.run([sys.executable, "-c", program], check=True)
