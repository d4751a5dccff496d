"""Who holds which part of a field, and that all ranks mean the same field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed
from torch.distributed import ProcessGroup, Work

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Dimensions that the ranks tell one another about; as many as anybody has.
MOST_DIMS = 16


@dataclass(frozen=True)
class Chain:
    """The ranks of a group that hold some part of a field, in its order.

    Attributes:
        group: All ranks, those with nothing too.
        extents: What each rank of the group holds along the split axis.
    """

    group: ProcessGroup
    extents: tuple[int, ...]

    @property
    def ranks(self) -> tuple[int, ...]:
        """The group's ranks that hold something."""
        return tuple(rank for rank, extent in enumerate(self.extents) if extent)

    @property
    def place(self) -> int | None:
        """This process's place in the chain, None if it holds nothing."""
        rank = distributed.get_rank(self.group)
        return self.ranks.index(rank) if rank in self.ranks else None

    def global_rank(self, place: int) -> int:
        """What the process at a place is called in the default group."""
        return distributed.get_global_rank(self.group, self.ranks[place])


def form_chain(part: Tensor, dim: int, recorded: int, group: ProcessGroup, timeout: timedelta | None) -> Chain:
    """Learn what the other ranks hold: one small collective call, so that whatever does not fit is an error on all of them.

    Args:
        part: This rank's part of the field.
        dim: The dimension that is split.
        recorded: Through how many layers a backward pass will go.
        group: The ranks that hold the field.
        timeout: How long to wait for them at most; None for the group's own.

    Raises:
        ValueError: If the parts differ in anything but their extent in ``dim``, or all are empty.
        RuntimeError: If a rank does not answer.
    """
    missing = [-1] * (MOST_DIMS - part.ndim)
    kind = DTYPES.index(part.dtype) if part.dtype in DTYPES else -1
    own = torch.tensor([*part.shape, *missing, kind, recorded], dtype=torch.int64, device=part.device)
    found = [torch.empty_like(own) for _ in range(distributed.get_world_size(group))]
    what = f"all {len(found)} ranks to say what part of the field they hold"
    with explained(what, timeout):
        wait([distributed.all_gather(found, own, group=group, async_op=True)], group, timeout)
    tables = [each.tolist() for each in found]
    extents = tuple(table[dim] for table in tables)
    for rank, table in enumerate(tables):
        if [v for k, v in enumerate(table) if k != dim] != [v for k, v in enumerate(tables[0]) if k != dim]:
            raise ValueError(
                f"expected parts of one field, alike in all but dimension {dim}, in dtype, and in which layers need gradients, "
                f"got {_describe(tables[0])} on rank 0 and {_describe(table)} on rank {rank}"
            )
    if not any(extents):
        raise ValueError(f"expected a field of positive extent in dimension {dim}, got nothing on all ranks")
    return Chain(group, extents)


def _describe(table: list[int]) -> str:
    *shape, kind, recorded = table
    dtype = DTYPES[kind] if kind >= 0 else "another dtype"
    return f"shape {tuple(k for k in shape if k >= 0)}, {dtype}, gradients in {recorded} layers"


def add_up(tensors: Sequence[Tensor], group: ProcessGroup, timeout: timedelta | None) -> Sequence[Tensor]:
    """The sums over all ranks, by one collective call; each of them has them.

    Raises:
        RuntimeError: If a rank does not take part.
    """
    total = torch.cat([tensor.flatten() for tensor in tensors])
    with explained("all ranks to add up the gradients of the weights", timeout):
        wait([distributed.all_reduce(total, group=group, async_op=True)], group, timeout)
    pieces = total.split([tensor.numel() for tensor in tensors])
    return [piece.view(tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True)]


def wait(works: Sequence[Work | None], group: ProcessGroup, timeout: timedelta | None) -> None:
    """Wait for communication. NCCL would block the host to keep a ``timeout``; there its watchdog keeps the group's own."""
    for work in works:
        if work is not None and timeout is not None and distributed.get_backend(group) != "nccl":
            work.wait(timeout)
        elif work is not None:
            work.wait()


@contextmanager
def explained(what: str, timeout: timedelta | None) -> Iterator[None]:
    """Say what was waited for when it did not come.

    Raises:
        RuntimeError: In place of what ``torch.distributed`` raises.
    """
    try:
        yield
    except RuntimeError as error:
        limit = "" if timeout is None else f" within {timeout.total_seconds():g} s"
        reason = str(error).strip().splitlines()
        raise RuntimeError(f"expected {what}{limit}, got: {reason[-1] if reason else type(error).__name__}") from error
