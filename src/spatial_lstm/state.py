"""The state that enters and leaves a grid through its faces."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class State(NamedTuple):
    """Hidden and cell states on the n faces of a grid.

    Going in, face k is the *near* face of axis k (coordinate -1 in the direction of travel); coming out, the *far* face (the last
    coordinate). So the state that leaves one tile is the state that enters the next, and for ``n = 1`` it is the ``(h_n, c_n)`` of
    :class:`torch.nn.LSTM`, one tensor in each tuple.

    Attributes:
        h: n tensors; face k has shape ``(num_layers * D, N, hidden_size, *S without axis k)``, without N for unbatched input. Going in,
            any may be None, which stands for zeros.
        c: The same for the cell state. Coming out of a 16-bit layer it is float32, in which the cell state is carried.
    """

    h: tuple[Tensor | None, ...]
    c: tuple[Tensor | None, ...]
