"""One run over several processes: who takes which part of a batch, and how all keep the same weights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from spatial_lstm.image_models import ImageModel


@dataclass(frozen=True)
class Group:
    """This process among its peers; alone by default."""

    rank: int = 0
    world: int = 1

    def share(self, batch: Tensor) -> tuple[Tensor, float]:
        """This process's patches, and what their mean loss is to be multiplied by, so that the processes' mean is the whole batch's."""
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

    def wrap(self, loss: Loss) -> nn.Module:
        """The loss, whose backward averages gradients over processes."""
        return loss if self.world == 1 else DistributedDataParallel(loss, forward_sync_buffers=False)


class Loss(nn.Module):
    """Mean negative log-likelihood of a scored pixel in nats, times ``weight``; what DistributedDataParallel can wrap."""

    def __init__(self, model: ImageModel, autocast: bool = False) -> None:
        super().__init__()
        self.model = model
        self.autocast = autocast

    def forward(self, images: Tensor, weight: float = 1.0) -> Tensor:
        """A scalar."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.autocast):
            nats, pixels = self.model.log_prob(images)
        return -weight * nats.sum() / (pixels * max(1, len(images)))


@contextmanager
def group_from_environment(device: torch.device) -> Iterator[Group]:
    """Join the processes that ``torchrun`` started, if it did; leave them in the end."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Group()
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Group(distributed.get_rank(), world)
        distributed.barrier()  # one that leaves while another still listens to it may bring that one down
    finally:
        distributed.destroy_process_group()


def local_device(name: str) -> torch.device:
    """``"cuda"`` under ``torchrun`` is this process's own."""
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return torch.device(name)


def _collective_device() -> torch.device:
    """Where the group's tensors must be."""
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
