"""The specification, in NumPy alone: one layer, one direction, site by site, in the words of the equations."""

from __future__ import annotations

from .backward_pass import Gradients, backward
from .cells import CELLS
from .forward_pass import Forward, forward

__all__ = ["CELLS", "Forward", "Gradients", "backward", "forward"]
