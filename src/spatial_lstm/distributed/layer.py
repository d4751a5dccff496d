"""How one layer runs on one rank: what its blocks are, and what each of them computes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor

from spatial_lstm.distributed.chain import Chain
from spatial_lstm.distributed.faces import Cut
from spatial_lstm.distributed.schedule import DOWN, UP, Item, Steps, make_schedule
from spatial_lstm.engine import StackOptions, Weights, face_shapes, flatten_faces, run_layer


@dataclass(frozen=True)
class SplitLayer:
    """One layer over a field that is split.

    Attributes:
        chain: The ranks.
        cut: The blocks.
        options: Those of the whole layer.
        names: The weights that it has.
        recorded: Whether a backward pass will follow.
        recompute: Whether that computes each block anew.
        timeout: How long to wait for a neighbor at most; None for the group's own.
    """

    chain: Chain
    cut: Cut
    options: StackOptions
    names: tuple[str, ...]
    recorded: bool
    recompute: bool
    timeout: timedelta | None

    @property
    def heading(self) -> tuple[int, ...]:
        """Which way each direction travels along the chain."""
        return tuple(DOWN if letters[self.cut.split] == "f" else UP for letters in self.options.directions)

    @property
    def schedule(self) -> Steps:
        """What each place computes when in the forward pass; the backward pass goes through it from its end."""
        return make_schedule(len(self.chain.ranks), self.heading, self.cut.blocks)

    def is_entered_at(self, direction: int) -> bool:
        """Whether a direction enters the field at this rank, so that no neighbor has faces for it."""
        place = self.chain.place
        return place is not None and place - self.heading[direction] not in range(len(self.chain.ranks))

    def block(self, item: Item) -> int:
        """Which block an item is, by coordinate."""
        forward = self.options.directions[item.direction][self.cut.along] == "f"
        return item.turn if forward else self.cut.blocks - 1 - item.turn

    def describe(self, item: Item) -> str:
        """What people call an item."""
        return f"block {self.block(item) + 1} of {self.cut.blocks} in direction {self.options.directions[item.direction]!r}"

    def compute(self, direction: int, x: Tensor, near: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        """Run one direction on a block: its near faces ``(2, 1, F, h)``, h and then c, and its far faces likewise."""
        options = self.options._replace(directions=(self.options.directions[direction],))
        given = Weights(**dict(zip(self.names, weights, strict=True)))
        output, *far = run_layer(x, given, near[0].to(x.dtype), near[1], None, options)
        shapes = face_shapes(x.shape[0], x.shape[1:-1], output.shape[-1])
        rows = [flatten_faces(faces, near.dtype, shapes) for faces in far]
        return output.unsqueeze(-2), torch.stack([each for each in rows if each is not None])
