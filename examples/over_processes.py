"""Train on a field of which each process holds a part: every site is to tell the sign of the last mark before it in its row.

``python examples/over_processes.py [--processes 2] [--size 64] [--steps 120]``, or one process for each of ``torchrun``'s. The mark may lie
in another process's part, so states have to travel through all parts, and gradients back.
"""

from __future__ import annotations

import argparse
import os
import socket

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor.parallel import parallelize_module
from torch.nn import functional

from spatial_lstm import OutputOnly, SpatialLSTM
from spatial_lstm.distributed import SpatialParallel

DENSITY = 0.03


def make_part(rank: int, world: int, size: int) -> tuple[Tensor, Tensor]:
    """This process's marks -1, 0 and 1, ``(1, 1, size, size)``, and its targets -1, 0 and 1: no process ever makes the whole field."""
    generator = torch.Generator().manual_seed(rank)
    marks = torch.rand(1, 1, size, size, generator=generator).sub(0.5).sign()
    marks *= torch.rand(1, 1, size, size, generator=generator) < DENSITY
    places = torch.where(marks != 0, torch.arange(size), -1).cummax(dim=-1).values
    targets = torch.where(places < 0, 0.0, marks.gather(-1, places.clamp(min=0)))
    ends = [torch.empty_like(targets[..., -1:]) for _ in range(world)]
    distributed.all_gather(ends, targets[..., -1:].contiguous())
    before = torch.zeros_like(ends[0])  # the last mark of the nearest part that has any
    for end in ends[:rank]:
        before = torch.where(end != 0, end, before)
    return marks, torch.where(targets != 0, targets, before)


def train(mesh: DeviceMesh, size: int, steps: int) -> float:
    """Train the same network in all processes; return the share of all sites that it gets right."""
    torch.manual_seed(0)
    layer, head = OutputOnly(SpatialLSTM(1, 8, cell="diagonal")), nn.Conv2d(8, 1, 1)
    parallelize_module(layer, mesh, {"layer": SpatialParallel(axis=-1)})
    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.03)
    marks, targets = make_part(mesh.get_local_rank(), mesh.size(), size)
    known = targets != 0
    total = known.sum()
    distributed.all_reduce(total)
    for _ in range(steps):
        optimizer.zero_grad()
        scores = head(layer(marks))
        losses = functional.binary_cross_entropy_with_logits(scores, (targets > 0).float(), reduction="none")
        (losses[known].sum() / total).backward()  # the field's mean is the sum of the processes' parts
        for parameter in head.parameters():  # the layer's own gradients are sums already
            distributed.all_reduce(parameter.grad)
        optimizer.step()
    right = ((scores > 0) == (targets > 0))[known].sum()
    distributed.all_reduce(right)
    return float(right / total)


def run(rank: int, world: int, address: str, size: int, steps: int) -> None:
    """One process's work."""
    distributed.init_process_group("gloo", address, rank=rank, world_size=world)
    right = train(init_device_mesh("cpu", (world,)), size, steps)
    if rank == 0:
        print(f"{size}x{size * world} field over {world} processes: right at {right:.1%} of the sites")
    distributed.barrier()
    distributed.destroy_process_group()


def main() -> None:
    """Start the processes, unless ``torchrun`` did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2, help="processes, without torchrun (default: %(default)s)")
    parser.add_argument("--size", type=int, default=64, help="height and width of each part (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=120, help="training steps (default: %(default)s)")
    args = parser.parse_args()
    if "RANK" in os.environ:
        run(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), "env://", args.size, args.steps)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    options = (args.processes, address, args.size, args.steps)
    torch.multiprocessing.spawn(run, options, nprocs=args.processes)  # type: ignore[attr-defined,no-untyped-call]


if __name__ == "__main__":
    main()
