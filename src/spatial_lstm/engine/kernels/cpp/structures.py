"""The structures that cross into the library: the same fields in the same order as their C++ namesakes in ``source/``."""

from __future__ import annotations

import ctypes


class Layer(ctypes.Structure):
    """Mirrors ``layer.hpp``, which says what the fields are."""

    _fields_ = [
        ("cell", ctypes.c_char_p),
        ("directions", ctypes.c_int64),
        ("images", ctypes.c_int64),
        ("raster_rows", ctypes.c_int64),
        ("sites", ctypes.c_int64),
        ("table_rows", ctypes.c_int64),
        ("face_rows", ctypes.c_int64),
        ("axes", ctypes.c_int64),
        ("blocks", ctypes.c_int64),
        ("hidden", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("threads", ctypes.c_int64),
        ("wait_cost", ctypes.c_int64),
        ("start_cost", ctypes.c_int64),
        ("extents", ctypes.c_void_p),
        ("reverse", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("sizes", ctypes.c_void_p),
        ("idle", ctypes.c_int64),
        ("weight_rows", ctypes.c_int64),
        ("weight_columns", ctypes.c_int64),
        ("rows", ctypes.c_void_p),
        ("columns", ctypes.c_void_p),
        ("peephole_rows", ctypes.c_void_p),
        ("x", ctypes.c_void_p),
        ("weight_ih", ctypes.c_void_p),
        ("weight_hh", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("weight_peephole", ctypes.c_void_p),
        ("weight_ch", ctypes.c_void_p),
        ("h0", ctypes.c_void_p),
        ("c0", ctypes.c_void_p),
    ]


class Results(ctypes.Structure):
    """Mirrors ``saved.hpp``: what a forward pass fills and a backward reads."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("output", "far_h", "far_c", "c", "gates", "folded")]


class BackwardData(ctypes.Structure):
    """Mirrors ``backward.hpp``: the gradients that come in and those that leave to the near faces and the input."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("output", "far_h", "far_c", "near_h", "near_c", "x")),
        ("output_row", ctypes.c_int64),
        ("output_direction", ctypes.c_int64),
    ]


class Gradients(ctypes.Structure):
    """Mirrors ``weight_gradient.hpp``."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("weight_ih", "weight_hh", "bias", "weight_peephole", "weight_ch")]


# By the name under which the library says its size.
STRUCTURES: dict[str, type[ctypes.Structure]] = {
    "layer": Layer,
    "results": Results,
    "backward_data": BackwardData,
    "gradients": Gradients,
}
