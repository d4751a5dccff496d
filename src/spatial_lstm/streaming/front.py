"""The faces between tiles, no more of them than one row of tiles needs."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from spatial_lstm.engine import Tile, state_dtype
from spatial_lstm.state import State


class Front:
    """Faces of one layer in one direction, on the way through a field row of tiles by row of tiles along axis 0.

    Face 0 is as large as the field's. All other faces are as long along axis 0 as one tile: a row of tiles starts from zeros there, so
    that between rows face 0 is all there is.

    Args:
        hidden: Features.
        extents: S.
        depth: Extent of a tile along axis 0.
        like: Whose dtype and device h has.
    """

    def __init__(self, hidden: int, extents: Sequence[int], depth: int, like: Tensor) -> None:
        self._depth = depth
        slab = (min(depth, extents[0]), *extents[1:])
        self._faces: list[tuple[Tensor, Tensor]] = []
        for axis in range(len(extents)):
            shape = (1, hidden, *slab[:axis], *slab[axis + 1 :])
            self._faces.append((like.new_zeros(shape), like.new_zeros(shape, dtype=state_dtype(like.dtype))))

    @property
    def between(self) -> tuple[Tensor, Tensor]:
        """Copies of what one row of tiles hands to the next, h and c ``(1, h, *S without 0)``."""
        h, c = self._faces[0]
        return h.cpu().clone(), c.cpu().clone()

    def restore(self, between: tuple[Tensor, Tensor]) -> None:
        """Go on from what :attr:`between` was."""
        for own, given in zip(self._faces[0], between, strict=True):
            own.copy_(given)

    def start_row(self) -> None:
        """Zero near faces on all axes but the first."""
        for pair in self._faces[1:]:
            for face in pair:
                face.zero_()

    def take(self, tile: Tile) -> State:
        """A tile's near faces."""
        h, c = zip(*((h[at], c[at]) for h, c, at in self._places(tile)), strict=True)
        return State(h, c)

    def put(self, tile: Tile, far: State) -> None:
        """Write a tile's far faces where the next tiles look for them."""
        for (h, c, at), new_h, new_c in zip(self._places(tile), far.h, far.c, strict=True):
            if new_h is not None and new_c is not None:
                h[at], c[at] = new_h, new_c

    def _places(self, tile: Tile) -> list[tuple[Tensor, Tensor, tuple[slice, ...]]]:
        window = (slice(0, tile.extents[0]), *tile.window[1:])
        found = []
        for axis, (h, c) in enumerate(self._faces):
            found.append((h, c, (slice(None), slice(None), *window[:axis], *window[axis + 1 :])))
        return found
