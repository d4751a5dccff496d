"""One field split over the ranks of a device mesh: :class:`SpatialParallel`, a style for ``parallelize_module``.

A field is split along one axis. Each rank cuts its part into blocks along another, and a block is computed as soon as the states come in
from the neighbor: ranks follow one another like the wavefront does, and directions that travel against one another fill the gaps. See
:mod:`~spatial_lstm.distributed.schedule` for who computes what when, :mod:`~spatial_lstm.distributed.cost` for the number of blocks.
"""

from __future__ import annotations

from spatial_lstm.distributed.style import SpatialParallel

__all__ = ["SpatialParallel"]
