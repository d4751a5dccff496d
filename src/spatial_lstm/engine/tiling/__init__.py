r"""One field in tiles: what passes between them is faces, and the backward computes every tile anew from its own.

A tile's state enters through its near faces and leaves through its far faces, and no tile needs anything else of another. For every axis
a *front* as large as the field's own face of that axis holds the state where the tiles done so far end: it starts as the near face that
the user gave, each tile reads its part of it and writes what leaves it there, and at the end it is the far face. Any order will do in
which a tile comes after its predecessors; each direction has its own.

Training keeps the near faces that each tile found, n / T of the h and c of all sites for tiles of extent T, and nothing else. The backward
goes through the tiles in the opposite order, runs each again from those faces, this time keeping everything, and hands the gradients of
faces on in a front of their own.

Layers of one direction run one on the other within a tile, and no field in between is ever there. With more directions the tiles of each
layer need the merged field below as a whole.
"""

from spatial_lstm.engine.tiling.grid import Tile, TileGrid
from spatial_lstm.engine.tiling.operator import run
from spatial_lstm.engine.tiling.stage import Stage, StageOptions

__all__ = ["Stage", "StageOptions", "Tile", "TileGrid", "run"]
