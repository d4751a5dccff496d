"""The states of an LSTM at every site of images: stepped one set of sites at a time, or all found in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from spatial_lstm import SpatialLSTM, State
from spatial_lstm.image_models.sites import Corner, SiteStates, Stepper


def _blank(lstm: SpatialLSTM, batch: int, rows: int, columns: int, state: State | None) -> Tensor:
    """States to be filled in, ``(2, num_layers, N, H' + 1, W' + 1, h)``, h and c; the first row and column are those that enter."""
    like = next(lstm.parameters())
    shape = (2, lstm.num_layers, batch, rows + 1, columns + 1, lstm.hidden_size)
    states = torch.zeros(shape, dtype=torch.promote_types(like.dtype, torch.float32), device=like.device)
    if state is not None:
        for own, faces in zip(states, state, strict=True):
            for near, face in zip((own[:, :, 0, 1:], own[:, :, 1:, 0]), faces, strict=True):
                if face is not None:
                    near.copy_(face.movedim(2, -1))
    return states


def _near_faces(above: Tensor, left: Tensor) -> State:
    """The state of faces ``(2, num_layers, N, extent, h)``, h and c."""
    h, c = zip(above.movedim(-1, 3), left.movedim(-1, 3), strict=True)
    return State(h, c)


class RecurrentStepper(Stepper):
    """Advances every layer's states one set of independent sites at a time.

    Args:
        lstm: The layers.
        batch: Images, N.
        rows, columns: Sites of each image.
        state: What enters them from above and from the left; None for zeros.
    """

    def __init__(self, lstm: SpatialLSTM, batch: int, rows: int, columns: int, state: State | None = None) -> None:
        self._cells = [lstm.cell(layer, "ff") for layer in range(lstm.num_layers)]
        self._states = _blank(lstm, batch, rows, columns, state)

    def step(self, white: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        x = white.flatten(0, 1)
        for layer, cell in enumerate(self._cells):
            states = self._states[:, layer]  # (2, N, H' + 1, W' + 1, h)
            above = states[:, :, rows, columns + 1].flatten(1, 2)
            left = states[:, :, rows + 1, columns].flatten(1, 2)
            h, c = cell(x, ((above[0], above[1]), (left[0], left[1])))
            states[:, :, rows + 1, columns + 1] = torch.stack([h, c]).unflatten(1, white.shape[:2])
            x = h
        features: Tensor = x.unflatten(0, white.shape[:2])
        return features


class RecurrentStates(SiteStates):
    """Every layer's states at all sites of images, found row by row.

    Args:
        lstm: The layers.
        white: Whitened inputs ``(N, H', W', D)``.
        state: What enters the images from above and from the left; None for zeros.
    """

    def __init__(self, lstm: SpatialLSTM, white: Tensor, state: State | None = None) -> None:
        batch, height, width, _ = white.shape
        self._states = _blank(lstm, batch, height, width, state)
        rows = self._states.unbind(3)
        for row, (above, own) in zip(white.split(1, 1), pairwise(rows), strict=True):
            _, far = lstm(row, _near_faces(above[..., 1:, :], own[..., :1, :]))
            for kept, faces in zip(own, far, strict=True):
                kept[:, :, 1:] = faces[0].movedim(2, -1)

    def entering(self, corners: Sequence[Corner], rows: int, columns: int) -> State:
        above = [self._states[:, :, n, i, j + 1 : j + 1 + columns] for n, i, j in corners]
        left = [self._states[:, :, n, i + 1 : i + 1 + rows, j] for n, i, j in corners]
        return _near_faces(torch.stack(above, dim=2), torch.stack(left, dim=2))

    def write(self, corner: Corner, states: SiteStates, image: int) -> None:
        assert isinstance(states, RecurrentStates)
        new = states._states[:, :, image, 1:, 1:]
        n, i, j = corner
        self._states[:, :, n, i + 1 : i + 1 + new.shape[2], j + 1 : j + 1 + new.shape[3]] = new
