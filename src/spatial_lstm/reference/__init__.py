"""The specification, in NumPy alone: one layer, one direction, site by site, in the words of the equations.

Slow on purpose: no batching over sites, no reordering, nothing to read past. All other code is checked against it. It imports no torch
and nothing of the package outside this folder.
"""

from __future__ import annotations

from .arguments import Faces
from .backward_pass import Gradients, backward
from .cells import CELLS
from .forward_pass import Forward, forward

__all__ = ["CELLS", "Faces", "Forward", "Gradients", "backward", "forward"]
