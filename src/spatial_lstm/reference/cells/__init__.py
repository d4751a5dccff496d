"""The cells: what happens at one site. A new cell is one file here and one entry in :data:`CELLS`."""

from __future__ import annotations

from . import diagonal, graves, spatial, stable
from .base import Array, Cell, Equations, Site, SiteGradient

CELLS: dict[str, Cell] = {
    "spatial": spatial.CELL,
    "graves": graves.CELL,
    "stable": stable.CELL,
    "diagonal": diagonal.CELL,
}

__all__ = ["CELLS", "Array", "Cell", "Equations", "Site", "SiteGradient"]
