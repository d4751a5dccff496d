"""Gradients of weights, added up over tiles."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from spatial_lstm.engine.tensors import Gradients, Weights, state_dtype
from spatial_lstm.engine.tiling.stage import Stage


class Sums:
    """The ``wanted`` gradients of a stage's weights, by the names of ``stage.tensors``.

    Summed in float32 where the weights have 16 bits, in which what the last of many tiles adds would be lost.
    """

    def __init__(self, stage: Stage, wanted: Collection[str]) -> None:
        self._directions = len(stage.directions)
        self._totals = {
            name: torch.zeros(tensor.shape, dtype=state_dtype(tensor.dtype), device=tensor.device)
            for name, tensor in stage.tensors().items()
            if "." in name and name in wanted
        }

    def wanted(self, plane: int) -> list[str]:
        """The short names of a plane's weights whose gradients are wanted."""
        depth = plane // self._directions
        return [name for name in Weights._fields if f"{depth}.{name}" in self._totals]

    def add(self, plane: int, found: Gradients) -> None:
        """Add what a tile gave to a plane's weights."""
        depth, d = divmod(plane, self._directions)
        for name in self.wanted(plane):
            self._totals[f"{depth}.{name}"][d] += getattr(found, name)[0]

    def finish(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """The sums by name, in ``dtype``."""
        return {name: total.to(dtype) for name, total in self._totals.items()}
