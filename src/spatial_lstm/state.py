"""The state that enters and leaves a grid through its faces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from spatial_lstm.tuples import returned


@returned
class State(NamedTuple):
    """Hidden and cell states on the n faces of a grid.

    Going in, face k is the *near* face of axis k (coordinate -1 in the direction of travel); coming out, the *far* face (the last
    coordinate). So the state that leaves one tile is the state that enters the next, and for ``n = 1`` it is the ``(h_n, c_n)`` of
    :class:`torch.nn.LSTM`, one tensor in each tuple. ``torch.load`` reads it with ``weights_only=True``.
    It may be made of one iterable of both, too, as any tuple.

    Attributes:
        h: n tensors; face k has shape ``(num_layers * D, N, hidden_size, *S without axis k)``, without N for unbatched input. Going in,
            any may be None, which stands for zeros.
        c: The same for the cell state. Coming out of a 16-bit layer it is float32, in which the cell state is carried.
    """

    h: tuple[Tensor | None, ...]
    c: tuple[Tensor | None, ...]

    def along(self, axis: int) -> State:
        """The faces of one axis alone, the others None: what the next tile along that axis takes.

        Raises:
            IndexError: If there is no such axis.
        """
        axes = len(self.h)
        if not -axes <= axis < axes:
            raise IndexError(f"expected axis in {-axes} .. {axes - 1}, got {axis}")
        h, c = (tuple(face if k == axis % axes else None for k, face in enumerate(faces)) for faces in self)
        return State(h, c)

    def detach(self) -> State:
        """Cut off from the graph: for training on tile after tile without going back through all of them."""
        return self._each(lambda face: face.detach())

    def to(self, *args: Any, **kwargs: Any) -> State:
        """Every face moved or cast; arguments as in :meth:`torch.Tensor.to`."""
        return self._each(lambda face: face.to(*args, **kwargs))

    def _each(self, change: Callable[[Tensor], Tensor]) -> State:
        h, c = (tuple(None if face is None else change(face) for face in faces) for faces in self)
        return State(h, c)
