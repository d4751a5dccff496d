"""Two processes under gloo: gradients equal those of one process on the whole batch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from spatial_lstm import SpatialLSTM
from tests.cases import assert_close, make_input, make_layer

WORLD = 2
# That of torch 2.6 looks for a GPU.
needs_fsdp_on_cpus = pytest.mark.skipif(torch.__version__ < "2.7", reason="fully_shard needs a GPU before torch 2.7")


def loss(model: nn.Module, x: Tensor) -> Tensor:
    output: Tensor = model(x)[0]
    return output.pow(2).mean()


def ddp(layer: SpatialLSTM, x: Tensor) -> list[Tensor]:
    model = DistributedDataParallel(layer)  # must outlive the backward, in which it averages
    loss(model, x).backward()
    return [p.grad for p in layer.parameters() if p.grad is not None]


def compiled_ddp(layer: SpatialLSTM, x: Tensor) -> list[Tensor]:
    model = torch.compile(DistributedDataParallel(layer), backend="aot_eager")
    loss(model, x).backward()
    return [p.grad for p in layer.parameters() if p.grad is not None]


def fsdp(layer: SpatialLSTM, x: Tensor) -> list[Tensor]:
    fully_shard(layer, mesh=init_device_mesh("cpu", (WORLD,)))
    loss(layer, x).backward()
    return [p.grad.full_tensor() for p in layer.parameters() if p.grad is not None]  # type: ignore[attr-defined]


def fsdp_from_meta(layer: SpatialLSTM, x: Tensor) -> list[Tensor]:
    """Memory for shards alone, in which the layer is drawn; then it gets the weights of the other."""
    sharded, drawn = copy.deepcopy(layer).to("meta"), copy.deepcopy(layer)
    fully_shard(sharded, mesh=init_device_mesh("cpu", (WORLD,)))
    sharded.to_empty(device="cpu")
    sharded.reset_parameters()
    drawn.reset_parameters()
    for name, parameter in sharded.named_parameters():
        assert not name.startswith("bias") or torch.equal(parameter.full_tensor(), drawn.get_parameter(name))  # type: ignore[attr-defined]
    set_model_state_dict(sharded, layer.state_dict(), options=StateDictOptions(full_state_dict=True))
    loss(sharded, x).backward()
    return [p.grad.full_tensor() for p in sharded.parameters() if p.grad is not None]  # type: ignore[attr-defined]


STRATEGIES: dict[str, Callable[[SpatialLSTM, Tensor], list[Tensor]]] = {
    "ddp": ddp,
    "compiled_ddp": compiled_ddp,
    "fsdp": fsdp,
    "fsdp_from_meta": fsdp_from_meta,
}


def work(rank: int, folder: Path, strategy: str) -> None:
    address = f"file://{folder}/meeting"  # a port that is free now may be taken a moment later
    dist.init_process_group("gloo", address, rank=rank, world_size=WORLD, timeout=timedelta(seconds=600))
    try:
        torch.manual_seed(0)
        layer = make_layer("graves-peephole", 3, 4, 2, directions="all")
        x = make_input(layer, 2 * WORLD, (5, 4), grad=False)
        expected = torch.autograd.grad(loss(layer, x), list(layer.parameters()))
        assert_close(STRATEGIES[strategy](layer, x[2 * rank : 2 * rank + 2]), expected)
        dist.barrier()  # one that leaves while another still listens to it may bring that one down
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param("ddp", marks=pytest.mark.support("DDP")),
        pytest.param("compiled_ddp", marks=pytest.mark.support("`torch.compile(DDP(..))`")),
        pytest.param("fsdp", marks=[needs_fsdp_on_cpus, pytest.mark.support("FSDP2 (`fully_shard`)")]),
        pytest.param("fsdp_from_meta", marks=[needs_fsdp_on_cpus, pytest.mark.support("FSDP2 (`fully_shard`)")]),
    ],
)
def test_gradients_equal_one_process(strategy: str, tmp_path: Path) -> None:
    torch.multiprocessing.spawn(work, (tmp_path, strategy), nprocs=WORLD)
