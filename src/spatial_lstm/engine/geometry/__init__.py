r"""The order in which a grid's sites are visited, and where each finds its neighbors.

Every direction is read in its own *canonical* coordinates ``q``, which grow along the direction of travel: ``q_k = p_k`` for a forward
axis and ``q_k = size_k - 1 - p_k`` for a reverse one, with each image's own size. In them all directions look alike: site ``q`` follows
the sites ``q - e_k`` and belongs to *step* ``s = q_0 + .. + q_{n-1}``. So one order, one table of predecessors and one table of
successors serve every direction; only the way back to pixels differs.

Sites that exist are sorted by (step, image, raster order of q). A step is therefore one contiguous block of rows, padding is never
visited, and a predecessor lies in the block before or on a near face. The rows of all sites followed by the rows of all near-face
entries form the *state table*, in which every predecessor has a row and none needs a special case.

A :class:`Grid` is what there is to say of a batch without visiting its sites; a :class:`Plan` holds the tables. The C++ kernel finds its
way by arithmetic and never asks for a plan.
"""

from spatial_lstm.engine.geometry.build import clear_plans, make_plan
from spatial_lstm.engine.geometry.grid import Grid, face_positions
from spatial_lstm.engine.geometry.plan import Plan

__all__ = ["Grid", "Plan", "clear_plans", "face_positions", "make_plan"]
