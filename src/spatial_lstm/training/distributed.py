"""One run over several processes: who takes which part of a batch, and how all keep the same weights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from spatial_lstm.training.task import B


@dataclass(frozen=True)
class Group:
    """This process among its peers; alone by default."""

    rank: int = 0
    world: int = 1

    def share(self, batch: B) -> tuple[B, float]:
        """This process's examples, and what their mean loss is to be multiplied by, so that the processes' mean is the whole batch's."""
        part = batch[self.rank :: self.world]
        return part, self.world * len(part) / len(batch)

    def agree(self, value: float) -> float:
        """The first process's value, in all."""
        if self.world == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=_collective_device())
        distributed.broadcast(shared, 0)
        return float(shared)

    def mean(self, value: float) -> float:
        """The mean over processes."""
        if self.world == 1:
            return value
        shared = torch.tensor([value / self.world], dtype=torch.float64, device=_collective_device())
        distributed.all_reduce(shared)
        return float(shared)

    def copy_from_first(self, module: nn.Module) -> None:
        """Give every process the first one's parameters and buffers."""
        if self.world > 1:
            for tensor in (*module.parameters(), *module.buffers()):
                distributed.broadcast(tensor.detach(), 0)

    def wrap(self, loss: nn.Module) -> nn.Module:
        """The loss, whose backward averages gradients over processes."""
        return loss if self.world == 1 else DistributedDataParallel(loss)


@contextmanager
def group_from_environment(device: torch.device) -> Iterator[Group]:
    """Join the processes that ``torchrun`` started, if it did; leave them in the end, when all are there.

    On GPUs every process computes and communicates on ``device``, its own (:func:`local_device`).
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Group()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Group(distributed.get_rank(), world)
        distributed.barrier()  # one that leaves while another still listens to it may bring that one down
    finally:
        distributed.destroy_process_group()


def local_device(name: str) -> torch.device:
    """Return a device by name; ``"cuda"`` under ``torchrun`` is this process's own GPU.

    Raises:
        ValueError: If there is no such GPU.
    """
    if name != "cuda":
        return torch.device(name)
    place, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if place >= count:
        raise ValueError(f"expected a GPU for each process on this machine, got {count} GPUs for process {place}")
    return torch.device("cuda", place)


def _collective_device() -> torch.device:
    """Where the group's tensors must be: on this process's own GPU, or on the CPU."""
    if distributed.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
