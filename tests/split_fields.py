"""Cases of a field split over processes, each run by all of them, and what starts them; see ``test_spatial_parallel.py``."""

from __future__ import annotations

import copy
import os
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import parallelize_module
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from spatial_lstm import SpatialLSTM, State
from spatial_lstm.distributed import SpatialParallel
from spatial_lstm.distributed.layer import SplitLayer
from tests.cases import assert_close, faces, make_input, make_layer, make_state

WORLD = 4


def part_of(tensor: Tensor, dim: int, extents: Sequence[int], rank: int) -> Tensor:
    """A rank's part, a leaf that wants a gradient if the whole does."""
    part = tensor.detach().narrow(dim, sum(extents[:rank]), extents[rank]).clone()
    return part.requires_grad_(tensor.requires_grad)


def weigh(tensors: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    return torch.stack([(t * w).sum() for t, w in zip(tensors, weights, strict=True)]).sum()


def same_as_whole(
    mesh: DeviceMesh,
    extents: Sequence[int] = (7, 6),
    axis: int = -1,
    parts: Sequence[int] | None = None,
    variant: str = "spatial",
    blocks: int | None = 3,
    anew: bool = False,
    **options: Any,
) -> None:
    """Output, far faces, and gradients of input, near faces and weights, of this rank's part."""
    rank, world, n = mesh.get_local_rank(), mesh.size(), len(extents)
    layer = make_layer(variant, spatial_dims=n, **options)
    axis, dim = axis % n, axis % n + 2 - layer.channels_last
    own = parts[:world] if parts else [len(c) for c in torch.arange(extents[axis]).tensor_split(world)]
    whole = [*extents[:axis], sum(own), *extents[axis + 1 :]]
    x, state = make_input(layer, 2, whole), make_state(layer, 2, whole)
    output, far = layer(x, state)
    g, g_far = torch.randn_like(output), [torch.randn_like(face) for face in faces(far)]
    expected = torch.autograd.grad(weigh([output, *faces(far)], [g, *g_far]), [x, *faces(state), *layer.parameters()])

    def split(group: Sequence[Tensor]) -> list[Tensor]:
        """Parts of faces; those of the split axis are whole."""
        return [
            face.detach().requires_grad_(face.requires_grad)
            if k % n == axis
            else part_of(face, 3 + axis - (k % n < axis), own, rank)
            for k, face in enumerate(group)
        ]

    def leave(group: Sequence[Tensor]) -> list[Tensor]:
        """Far faces that lie on the field's border, zeros for others."""
        here = torch.tensor(
            [rank == (max if d[axis] == "f" else min)(r for r in range(world) if own[r]) for d in layer.directions]
        )
        mask = here.repeat(layer.num_layers).double().view(-1, *[1] * n, 1)
        return [face * mask if k % n == axis else face for k, face in enumerate(group)]

    parallelize_module(layer, mesh, SpatialParallel(axis, blocks, recompute=anew))
    near = split(faces(state))
    x_part = part_of(x, dim, own, rank)
    found, found_far = layer(x_part, State(tuple(near[:n]), tuple(near[n:])))
    assert_close([found], [part_of(output, dim, own, rank)])
    far_parts = leave(faces(found_far))
    assert_close(far_parts, leave(split(faces(far))))
    weigh([found, *far_parts], [part_of(g, dim, own, rank), *split(g_far)]).backward()
    for k in (axis, n + axis):  # read on one rank for each direction
        dist.all_reduce(near[k].grad, group=mesh.get_group())
    gradients = [t.grad for t in (x_part, *near, *layer.parameters()) if t.grad is not None]
    x_grad, near_grads, weight_grads = expected[0], expected[1 : 1 + 2 * n], expected[1 + 2 * n :]
    assert_close(gradients, [part_of(x_grad, dim, own, rank), *split(near_grads), *weight_grads])


def as_dtensors(mesh: DeviceMesh) -> None:
    """Shards in and out, with a last one that is smaller or empty."""
    layer = make_layer(directions="all", num_layers=2, merge="sum")
    x = make_input(layer, 2, (5, 9))
    output, _ = layer(x)
    g = torch.randn_like(output)
    expected = torch.autograd.grad(weigh([output], [g]), [x, *layer.parameters()])
    parallelize_module(layer, mesh, SpatialParallel())
    shards = distribute_tensor(x.detach(), mesh, [Shard(3)]).requires_grad_()
    found, _ = layer(shards)
    assert isinstance(found, DTensor)
    assert found.placements == (Shard(3),)
    assert found.shape == output.shape
    assert_close([found.full_tensor()], [output])
    (found * distribute_tensor(g, mesh, [Shard(3)])).sum().full_tensor().backward()
    assert isinstance(shards.grad, DTensor)
    assert_close([shards.grad.full_tensor(), *(p.grad for p in layer.parameters() if p.grad is not None)], expected)


def with_another_dimension(wrap: Callable[[SpatialLSTM, DeviceMesh], nn.Module]) -> Callable[[DeviceMesh], None]:
    """Batches over one dimension of a 2x2 mesh, the field over the other."""

    def case(_: DeviceMesh) -> None:
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("batch", "field"))
        layer = make_layer(directions="all")
        x = make_input(layer, 4, (6, 5), grad=False)
        expected = torch.autograd.grad(layer(x)[0].pow(2).sum() / 2, list(layer.parameters()))
        parallelize_module(layer, mesh["field"], SpatialParallel(blocks=2))
        model = wrap(layer, mesh["batch"])
        batch, field = mesh.get_coordinate() or (0, 0)
        model(x[2 * batch : 2 * batch + 2].tensor_split(2, dim=3)[field])[0].pow(2).sum().backward()
        grads = [p.grad for p in layer.parameters() if p.grad is not None]
        assert_close([g.full_tensor() if isinstance(g, DTensor) else g for g in grads], expected)

    return case


def inside_a_model(mesh: DeviceMesh) -> None:
    """A style of a part of a model that every rank drew on its own, and a copy of that."""
    x, first = torch.randn(1, 2, 4, 8), nn.Conv2d(2, 3, 1)
    torch.manual_seed(mesh.get_local_rank())
    model = nn.Sequential(first, make_layer(dtype=torch.float32))
    parallelize_module(model, mesh, {"1": SpatialParallel(blocks=2)})
    model = copy.deepcopy(model)
    with torch.no_grad():
        expected = SpatialLSTM.forward(make_plain(model[1]), model[0](x))[0]
        found = model(x.tensor_split(mesh.size(), dim=3)[mesh.get_local_rank()])[0]
    assert_close([found], [expected.tensor_split(mesh.size(), dim=3)[mesh.get_local_rank()]])


def make_plain(layer: nn.Module) -> SpatialLSTM:
    plain = SpatialLSTM(3, 4)
    plain.load_state_dict(layer.state_dict())
    return plain


def under_a_checkpoint(anew: bool) -> Callable[[DeviceMesh], None]:
    """Only the first rank may begin, so ranks would be at different places if each block asked for a new forward pass."""

    def case(mesh: DeviceMesh) -> None:
        layer = make_layer(num_layers=2)
        x, own = make_input(layer, 2, (6, 8), grad=False), mesh.get_local_rank()
        expected = torch.autograd.grad(layer(x)[0].pow(2).sum(), list(layer.parameters()))
        parallelize_module(layer, mesh, SpatialParallel(blocks=3, recompute=anew, timeout=20))
        part = x.tensor_split(mesh.size(), dim=3)[own].requires_grad_()
        checkpoint(lambda part: layer(part)[0], part, use_reentrant=False).pow(2).sum().backward()
        assert_close([p.grad for p in layer.parameters() if p.grad is not None], expected)

    return case


def refusals(mesh: DeviceMesh) -> None:
    """Errors come on all ranks, and leave them in step."""
    rank = mesh.get_local_rank()
    layer = parallelize_module(make_layer(), mesh, SpatialParallel())
    x = make_input(layer, 1, (4, 4))
    with pytest.raises(ValueError, match=r"alike in all but dimension 3.*\(1, 3, 4, 4\).*rank 0 and.*\(1, 3, 5, 4\)"):
        layer(make_input(layer, 1, (4 + rank, 4)))
    with pytest.raises(ValueError, match=r"positive extent in dimension 3, got nothing on all ranks"):
        layer(x[..., :0])
    with pytest.raises(ValueError, match=r"positive extents along the axes that are not split, got \[0\]"):
        layer(x[:, :, :0])
    with pytest.raises(ValueError, match=r"sizes=None"):
        layer(x, sizes=[[4, 4]])
    with pytest.raises(ValueError, match=r"4 dimensions, or 3 unbatched"):
        layer(x[0, 0])
    with pytest.raises(ValueError, match=r"placements \(Shard\(dim=3\),\).*got placements \(Replicate\(\),\)"):
        layer(distribute_tensor(x.detach(), mesh, [Replicate()]))
    two = parallelize_module(make_layer(num_layers=2), mesh, SpatialParallel())
    for name, parameter in two.named_parameters():
        parameter.requires_grad_("_l1" in name and rank == 0)
    with pytest.raises(ValueError, match=r"gradients in 1 layers on rank 0 and .*gradients in 0 layers on rank 1"):
        two(x.detach())
    output, _ = layer(x)
    output.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match=r"expected one backward pass"):
        output.sum().backward()


ALL = (1, 2, 3, 4)
EQUAL: dict[str, tuple[dict[str, Any], Sequence[int]]] = {
    "one direction": ({}, ALL),
    "four directions": ({"directions": "all"}, ALL),
    "along rows": ({"axis": 0, "directions": "all"}, ALL),
    "three axes, first": ({"extents": (5, 3, 4), "axis": 0, "directions": "all"}, ALL),
    "three axes, middle": ({"extents": (3, 5, 4), "axis": 1, "directions": ["frf", "rff"]}, ALL),
    "three axes, last": ({"extents": (4, 3, 5), "axis": -1, "directions": "all"}, ALL),
    "layers": ({"num_layers": 3, "directions": ["fr", "rf"], "merge": "mean"}, (2, 3)),
    "graves": ({"variant": "graves-peephole", "directions": ["fr", "rr"]}, (2, 3)),
    "extended": ({"variant": "spatial-extended", "directions": ["rr", "ff"]}, (2, 3)),
    "stable": ({"variant": "stable", "directions": "all"}, (2, 3)),
    "diagonal": ({"variant": "diagonal", "directions": "all"}, (2, 3)),
    "uneven": ({"parts": (1, 5, 2, 3), "directions": "all"}, (2, 4)),
    "nothing in the middle": ({"parts": (2, 0, 3, 1), "directions": "all"}, (4,)),
    "nothing but on one": ({"parts": (0, 4, 0, 0), "directions": "all"}, (2, 4)),
    "blocks of one row": ({"blocks": 7, "directions": "all"}, (2, 3)),
    "more blocks than rows": ({"blocks": 100}, (2,)),
    "blocks chosen": ({"blocks": None, "directions": "all"}, (2, 3)),
    "blocks anew": ({"anew": True, "directions": "all"}, (2, 3)),
    "gates anew": ({"recompute": True, "directions": "all"}, (2, 3)),
    "channels last": ({"channels_last": True, "directions": "all"}, (2, 3)),
    "composite": ({"backend": "composite", "directions": "rf"}, (2,)),
}


def equal(options: dict[str, Any]) -> Callable[[DeviceMesh], None]:
    return lambda mesh: same_as_whole(mesh, **options)


def ddp(layer: SpatialLSTM, mesh: DeviceMesh) -> nn.Module:
    return DistributedDataParallel(layer, process_group=mesh.get_group())


def fsdp(layer: SpatialLSTM, mesh: DeviceMesh) -> nn.Module:
    return fully_shard(layer, mesh=mesh)


CASES: dict[str, tuple[Callable[[DeviceMesh], None], Sequence[int]]] = {
    **{name: (equal(options), worlds) for name, (options, worlds) in EQUAL.items()},
    "DTensor": (as_dtensors, (1, 2, 4)),
    "DDP": (with_another_dimension(ddp), (4,)),
    "FSDP2": (with_another_dimension(fsdp), (4,)),
    "inside a model": (inside_a_model, (2,)),
    "under a checkpoint": (under_a_checkpoint(False), (2, 3)),
    "under a checkpoint, blocks anew": (under_a_checkpoint(True), (2,)),
    "refusals": (refusals, (2,)),
}
RUNS = [(name, world) for name, (_, worlds) in CASES.items() for world in worlds]


def run_cases(rank: int, folder: Path) -> None:
    """What each process does: all cases, a file for each that fails; in the end a rank is late, and one dies."""
    address = f"file://{folder}/meeting"  # a port that is free now may be taken a moment later
    dist.init_process_group("gloo", address, rank=rank, world_size=WORLD, timeout=timedelta(seconds=600))
    torch.use_deterministic_algorithms(True)  # memory that nobody has written holds NaN
    meshes = {world: DeviceMesh("cpu", list(range(world))) for world in ALL}
    for name, world in RUNS:
        if rank < world:
            torch.manual_seed(0)
            try:
                CASES[name][0](meshes[world])
            except Exception:
                (folder / f"{name} {world} {rank}").write_text(traceback.format_exc())
    dist.barrier()
    if rank < 2:
        one_is_late(meshes[2], folder)
    if rank < 3:
        one_dies(meshes[3], folder)
    os._exit(0)  # without waiting for the one that is gone


def one_is_late(mesh: DeviceMesh, folder: Path) -> None:
    """Rank 1 never comes to the backward pass; to the forward one it comes in time, however busy the machine is."""
    layer = parallelize_module(make_layer(directions="all"), mesh, SpatialParallel(blocks=2, timeout=3))
    output, _ = layer(make_input(layer, 1, (4, 3)))
    told = folder / "late, said rank 0"
    if mesh.get_local_rank() == 0:
        tell(told, lambda: output.sum().backward())
    while not told.exists():
        time.sleep(0.05)


def one_dies(mesh: DeviceMesh, folder: Path) -> None:
    """Rank 1 is gone in the middle of its blocks."""
    rank = mesh.get_local_rank()
    layer = parallelize_module(make_layer(), mesh, SpatialParallel(blocks=4, timeout=5))

    def die(*_: Any) -> None:
        os._exit(0)

    if rank == 1:
        SplitLayer.compute = die  # type: ignore[method-assign,assignment]
    tell(folder / f"dead, said rank {rank}", lambda: layer(make_input(layer, 1, (8, 3))))


def tell(file: Path, work: Callable[[], object]) -> None:
    """Write the error that comes into a file, and how long it took."""
    start, message = time.monotonic(), "no error"
    try:
        work()
    except RuntimeError as error:
        message = str(error)
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(f"{time.monotonic() - start}\n{message}")
    unfinished.rename(file)


def run_processes(folder: Path) -> None:
    """Start all, and wait for their end."""
    torch.multiprocessing.spawn(run_cases, (folder,), nprocs=WORLD)
