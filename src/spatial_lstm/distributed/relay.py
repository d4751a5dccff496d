"""Faces handed from rank to rank while blocks are computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple

import torch
from torch import Tensor, distributed
from torch.distributed import P2POp, Work

from spatial_lstm.distributed.chain import Chain, explained, wait
from spatial_lstm.distributed.schedule import Item, Steps, received


class Message(NamedTuple):
    """A face on its way ``"from"`` or ``"to"`` a rank."""

    item: Item
    face: Tensor
    way: str
    rank: int


class Relay:
    """Walks through a schedule: computes this place's items and, after each step, exchanges faces with both neighbors in one batch.

    What is exchanged after a step was computed in it, on both sides, so each rank's batch is matched by the same batch of its neighbors,
    and no order of execution can make ranks wait for one another in a circle. Nothing is waited for before it is needed.

    Args:
        chain: Who takes part.
        heading: Which way each direction's faces travel here: in a backward pass, the opposite of the forward pass.
        buffer: Makes a tensor for an item's incoming face.
        describe: Says what an item's face is, for errors.
        timeout: How long to wait for a face at most; None for the group's own.
    """

    def __init__(
        self,
        chain: Chain,
        heading: tuple[int, ...],
        buffer: Callable[[Item], Tensor],
        describe: Callable[[Item], str],
        timeout: timedelta | None,
    ) -> None:
        self._chain = chain
        self._heading = heading
        self._buffer = buffer
        self._describe = describe
        self._timeout = timeout
        self._arriving: dict[Item, tuple[Message, Sequence[Work]]] = {}
        self._sent: list[tuple[Message, Sequence[Work]]] = []

    def run(self, steps: Steps, compute: Callable[[Item, Tensor | None], Tensor]) -> None:
        """Go through the steps; ``compute`` takes an item and the face that came for it, None at the chain's end, and returns one to send.

        Raises:
            RuntimeError: If a neighbor is gone, or nothing comes in time.
        """
        place = self._chain.place
        if place is None:
            return
        for step in steps:
            item = step[place]
            face = None if item is None else self._compute(item, compute)
            self._exchange(step, place, item, face)
        for message, works in self._sent:
            self._wait(message, works)

    def _compute(self, item: Item, compute: Callable[[Item, Tensor | None], Tensor]) -> Tensor:
        received = self._take(item)
        with torch.profiler.record_function(f"compute {self._describe(item)}"):
            return compute(item, received)

    def _take(self, item: Item) -> Tensor | None:
        if item not in self._arriving:
            return None
        message, works = self._arriving.pop(item)
        with torch.profiler.record_function(f"wait for {self._name(message)}"):
            self._wait(message, works)
        return message.face

    def _exchange(self, step: tuple[Item | None, ...], place: int, item: Item | None, face: Tensor | None) -> None:
        """Start what the neighbors and this place have for one another after a step."""
        arrivals = [
            Message(other, self._buffer(other), "from", self._rank(source))
            for source, other in received(step, place, self._heading)
        ]
        messages = list(arrivals)
        if item is not None and face is not None:
            target = place + self._heading[item.direction]
            if target in range(len(self._chain.ranks)):
                messages.append(Message(item, face, "to", self._rank(target)))
        if not messages:
            return
        calls = {"from": distributed.irecv, "to": distributed.isend}
        ops = [P2POp(calls[m.way], m.face, m.rank, self._chain.group) for m in messages]
        with explained(" and ".join(self._name(m) for m in messages), self._timeout):
            works = distributed.batch_isend_irecv(ops)
        # NCCL has one work for all
        for k, message in enumerate(messages):
            own = works[k : k + 1] if len(works) == len(messages) else works
            if message.way == "from":
                self._arriving[message.item] = message, own
            else:
                self._sent.append((message, own))

    def _name(self, message: Message) -> str:
        return f"{self._describe(message.item)} {message.way} rank {message.rank}"

    def _rank(self, place: int) -> int:
        return self._chain.global_rank(place)

    def _wait(self, message: Message, works: Sequence[Work]) -> None:
        with explained(self._name(message), self._timeout):
            wait(works, self._chain.group, self._timeout)
