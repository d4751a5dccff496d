"""What runs tile by tile: layers of one direction one on the other, or one layer of several directions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from spatial_lstm.engine import composite
from spatial_lstm.engine.layout import merge_directions
from spatial_lstm.engine.tensors import Tensors, Weights
from spatial_lstm.engine.tiling.grid import TileGrid


class StageOptions(NamedTuple):
    """What a stage is told besides its tensors.

    Attributes:
        sizes, directions, cell, kernel: As in :class:`~spatial_lstm.engine.compute.Options`.
        merge: ``"concat"``, ``"sum"`` or ``"mean"`` of the directions.
        tile: n extents of a tile.
    """

    sizes: Tensor | None
    directions: str
    cell: str
    kernel: str
    merge: str
    tile: tuple[int, ...]


class Stage(NamedTuple):
    """Layers that all run within a tile before the next tile is looked at; their *planes* are all directions of all layers, layer by layer.

    Attributes:
        x: ``(N, *S, C)``.
        layers: One or more, of the same weights; more than one only where there is one direction.
        h0: ``(P, F, h)``, flattened near faces of the hidden state of all planes; None for zeros.
        c0: ``(P, F, h)``, likewise of the cell state.
        options: The options.
    """

    x: Tensor
    layers: tuple[Weights, ...]
    h0: Tensor | None
    c0: Tensor | None
    options: StageOptions

    @classmethod
    def of(cls, given: Mapping[str, Tensor], options: StageOptions) -> Stage:
        """The stage with these :meth:`tensors`."""
        layers: defaultdict[int, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in given.items():
            depth, _, short = name.rpartition(".")
            if depth:
                layers[int(depth)][short] = tensor
        weights = tuple(Weights(**layer) for layer in layers.values())
        return cls(given["x"], weights, given.get("h0"), given.get("c0"), options)

    def tensors(self) -> dict[str, Tensor]:
        """All that there are, by name: ``"x"``, ``"0.weight_ih"`` and so on for the weights of layer 0, ``"h0"``, ``"c0"``.

        In words that torch 2.6 compiles.
        """
        named: dict[str, Tensor | None] = {"x": self.x}
        for depth, layer in enumerate(self.layers):
            for name, weight in zip(Weights._fields, layer, strict=True):
                named[f"{depth}.{name}"] = weight
        named["h0"], named["c0"] = self.h0, self.c0
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    @property
    def directions(self) -> list[str]:
        """D strings."""
        return self.options.directions.split(",")

    @property
    def planes(self) -> int:
        """P, the number of layers times that of directions."""
        return len(self.layers) * len(self.directions)

    def planes_of(self, d: int) -> range:
        """The planes of a direction, lowest layer first."""
        return range(d, self.planes, len(self.directions))

    @property
    def hidden(self) -> int:
        """Number of features, h."""
        return self.layers[0].weight_hh.shape[2] // (self.x.ndim - 2)

    @property
    def width(self) -> int:
        """Features of the output: ``D h``, or h where directions are merged into one."""
        return self.hidden * (len(self.directions) if self.options.merge == "concat" else 1)

    @property
    def extents(self) -> tuple[int, ...]:
        """S."""
        return tuple(self.x.shape[1:-1])

    @property
    def grid(self) -> TileGrid:
        """The tiles."""
        return TileGrid(self.extents, self.options.tile)


def whole(stage: Stage) -> tuple[Tensor, Tensor, Tensor]:
    """Output and far faces of a stage without tiles, in plain differentiable torch."""
    x, options, count = stage.x, stage.options, len(stage.directions)
    far: list[tuple[Tensor, Tensor]] = []
    for depth, weights in enumerate(stage.layers):
        rows = slice(depth * count, (depth + 1) * count)
        h0, c0 = (None if faces is None else faces[rows] for faces in (stage.h0, stage.c0))
        tensors = Tensors(x, *weights, h0=h0, c0=c0)
        output, far_h, far_c = composite.forward(tensors, options.sizes, options.directions, options.cell)
        x = merge_directions(output, options.merge)
        far.append((far_h, far_c))
    h, c = (torch.cat(rows) for rows in zip(*far, strict=True))
    return x, h, c
