"""The structures that cross into the library: the same fields in the same order as their C++ namesakes in ``source/``."""

from __future__ import annotations

import struct

import torch

# By the types of the numbers that they compute on functions are called.
TYPES = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}


class Structure:
    """Fields of eight bytes each: integers, and addresses, of which 0 is C++'s null.

    Each call passes bytes of its own, made of all the numbers at once: a quarter of the time that a ctypes structure takes.

    Attributes:
        fields: Their names.
        size: Bytes.
        pack: From all numbers, in the order of the fields, to the bytes.
    """

    def __init__(self, *fields: str) -> None:
        packer = struct.Struct(f"{len(fields)}q")
        self.fields, self.size, self.pack = fields, packer.size, packer.pack


LAYER = Structure(  # layer.hpp says what they are
    "cell",
    "directions",
    "images",
    "raster_rows",
    "sites",
    "table_rows",
    "face_rows",
    "axes",
    "blocks",
    "hidden",
    "inputs",
    "threads",
    "wait_cost",
    "exchange_cost",
    "start_cost",
    "extents",
    "reverse",
    "starts",
    "sizes",
    "idle",
    "weight_rows",
    "weight_columns",
    "rows",
    "columns",
    "peephole_rows",
    "x",
    "weight_ih",
    "weight_hh",
    "bias",
    "weight_peephole",
    "weight_ch",
    "h0",
    "c0",
)
# saved.hpp: what a forward pass fills and a backward reads.
RESULTS = Structure("output", "far_h", "far_c", "c", "gates", "folded")
# backward.hpp: the gradients that come in and those that leave to the near faces and the input.
BACKWARD_DATA = Structure("output", "far_h", "far_c", "near_h", "near_c", "x", "output_row", "output_direction")
# weight_gradient.hpp.
GRADIENTS = Structure("weight_ih", "weight_hh", "bias", "weight_peephole", "weight_ch")
# planes.hpp: channels that come first, and where they are to come last.
PLANES = Structure(
    "from", "to", "images", "runs", "sites", "channels", "image_stride", "run_stride", "channel_stride", "threads"
)

# By the name under which the library says its size.
STRUCTURES = {
    "layer": LAYER,
    "results": RESULTS,
    "backward_data": BACKWARD_DATA,
    "gradients": GRADIENTS,
    "planes": PLANES,
}
