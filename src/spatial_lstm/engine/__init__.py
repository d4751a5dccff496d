"""How a layer is computed: what is below the modules and the functional form, behind this one door.

From users' tensors down: :mod:`~spatial_lstm.engine.validation` and :mod:`~spatial_lstm.engine.layout` bring them into one form,
:mod:`~spatial_lstm.engine.stack` runs layer after layer, :mod:`~spatial_lstm.engine.router` decides what computes one, the operators in
:mod:`~spatial_lstm.engine.operator` check their tensors into a :class:`~spatial_lstm.engine.problem.Problem` and hand it to a kernel.
"""

from __future__ import annotations

from spatial_lstm.engine.autocast import autocast_dtype
from spatial_lstm.engine.cache import clear_cache
from spatial_lstm.engine.cells import CELLS, Cell, get_cell
from spatial_lstm.engine.flops import register_flops
from spatial_lstm.engine.kernels import UnsuitedError
from spatial_lstm.engine.layout import (
    Faces,
    face_shapes,
    flatten_faces,
    merge_directions,
    own_faces,
    parse_directions,
)
from spatial_lstm.engine.modes import functorch_active, traced
from spatial_lstm.engine.problem import check_memory
from spatial_lstm.engine.router import backends
from spatial_lstm.engine.stack import LayerRunner, StackOptions, run_layer, run_layers
from spatial_lstm.engine.tensors import Weights, state_dtype, weight_shapes
from spatial_lstm.engine.tiling import Tile, TileGrid
from spatial_lstm.engine.validation import (
    check_dropout,
    check_dtype,
    check_forget_bias,
    check_options,
    check_saved_gates,
    check_site,
    check_site_state,
    check_sizes,
    check_tile,
    check_weight,
    check_whole,
    known,
)

__all__ = [
    "CELLS",
    "Cell",
    "Faces",
    "LayerRunner",
    "StackOptions",
    "Tile",
    "TileGrid",
    "UnsuitedError",
    "Weights",
    "autocast_dtype",
    "backends",
    "check_dropout",
    "check_dtype",
    "check_forget_bias",
    "check_memory",
    "check_options",
    "check_saved_gates",
    "check_site",
    "check_site_state",
    "check_sizes",
    "check_tile",
    "check_weight",
    "check_whole",
    "clear_cache",
    "face_shapes",
    "flatten_faces",
    "functorch_active",
    "get_cell",
    "known",
    "merge_directions",
    "own_faces",
    "parse_directions",
    "register_flops",
    "run_layer",
    "run_layers",
    "state_dtype",
    "traced",
    "weight_shapes",
]
