"""The cells: what happens at one site. A new cell is one file here and one entry in :data:`CELLS`."""

from __future__ import annotations

from spatial_lstm.arguments import check_choice
from spatial_lstm.engine.cells.base import Cell
from spatial_lstm.engine.cells.diagonal import DiagonalCell
from spatial_lstm.engine.cells.graves import GravesCell
from spatial_lstm.engine.cells.spatial import SpatialCell
from spatial_lstm.engine.cells.stable import StableCell

CELLS: dict[str, Cell] = {cell.name: cell for cell in (SpatialCell(), GravesCell(), StableCell(), DiagonalCell())}

__all__ = ["CELLS", "Cell", "get_cell"]


def get_cell(name: str) -> Cell:
    """Return the cell called ``name``.

    Raises:
        ValueError: If there is none.
    """
    if not isinstance(name, str) or name not in CELLS:  # a call less, which a small call notices
        check_choice("cell", name, CELLS)
    return CELLS[name]
