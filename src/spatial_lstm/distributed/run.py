"""From a module's call to this rank's part of it: DTensors unpacked, ranks agreed, every layer run as a pipeline."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from spatial_lstm.distributed.chain import Chain, form_chain
from spatial_lstm.distributed.cost import COSTS, Work, choose_blocks
from spatial_lstm.distributed.faces import Cut, cut_evenly
from spatial_lstm.distributed.layer import SplitLayer
from spatial_lstm.distributed.pipeline import run_split
from spatial_lstm.engine import (
    Faces,
    StackOptions,
    Weights,
    face_shapes,
    merge_directions,
    own_faces,
    run_layer,
    run_layers,
    state_dtype,
)


@dataclass(frozen=True)
class SplitRun:
    """Runs a stack of layers in place of :func:`spatial_lstm.engine.run_layers`, on this rank's part of a field.

    Attributes:
        mesh: The ranks, in one dimension.
        axis: The axis that is split.
        blocks: Number of blocks, or None to choose it.
        recompute: Whether blocks are computed anew in the backward.
        timeout: How long to wait for a neighbor at most, or None.
    """

    mesh: DeviceMesh
    axis: int
    blocks: int | None
    recompute: bool
    timeout: timedelta | None

    def __deepcopy__(self, memo: dict[int, Any]) -> SplitRun:
        """Itself: copies of a layer run on the same ranks."""
        return self

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(
        self,
        input: Tensor,
        layers: Sequence[Weights],
        state: tuple[Faces, Faces] | None,
        sizes: Tensor | Sequence[object] | None,
        options: StackOptions,
        between: Callable[[Tensor], Tensor] | None,
    ) -> tuple[Tensor, tuple[Faces, Faces]]:
        """Check and run; arguments and results as in :func:`spatial_lstm.engine.run_layers`.

        Raises:
            ValueError: If the input is no part of a field that is split so, or there are ``sizes``.
            RuntimeError: If another rank is gone.
        """
        if sizes is not None:
            raise ValueError("expected sizes=None for a field that is split over ranks, got sizes")
        if options.tile is not None:
            raise ValueError(
                f"expected tile=None for a field that is split over ranks, which runs in blocks of its own, got {options.tile}"
            )
        axes = len(options.directions[0])
        if not isinstance(input, Tensor) or input.ndim not in (axes + 1, axes + 2):
            return run_layers(input, layers, state, sizes, options)  # which refuses it
        dim = input.ndim - axes - options.channels_last + self.axis
        part = self._local(input, dim)
        chain = form_chain(part, dim, _recorded(part, layers, state), self.mesh.get_group(), self.timeout)
        others = [part.shape[dim - self.axis + k] for k in range(axes) if k != self.axis]
        if 0 in others:
            raise ValueError(f"expected positive extents along the axes that are not split, got {others}")
        each = SplitRunner(chain, self.axis, self.blocks, self.recompute, self.timeout)
        output, far = run_layers(part, layers, state, None, options, between, each=each, least=0)
        return self._like(input, output, dim, sum(chain.extents)), far

    def _local(self, input: Tensor, dim: int) -> Tensor:
        """This rank's part."""
        if not isinstance(input, DTensor):
            return input
        if input.device_mesh != self.mesh or tuple(input.placements) != (Shard(dim),):
            raise ValueError(
                f"expected a DTensor with placements {(Shard(dim),)} on {self.mesh}, or this rank's part as a plain tensor, "
                f"got placements {tuple(input.placements)} on {input.device_mesh}"
            )
        return input.to_local()

    def _like(self, input: Tensor, output: Tensor, dim: int, extent: int) -> Tensor:
        """The output as a DTensor where the input is one."""
        if not isinstance(input, DTensor):
            return output
        shape = torch.Size([extent if k == dim else size for k, size in enumerate(output.shape)])
        order = sorted(range(output.ndim), key=lambda k: output.stride(k))
        stride, place = [0] * output.ndim, 1
        for k in order:  # as dense as the part is, in the same order of dimensions
            stride[k], place = place, place * shape[k]
        return DTensor.from_local(output, self.mesh, [Shard(dim)], run_check=False, shape=shape, stride=tuple(stride))


@dataclass(frozen=True)
class SplitRunner:
    """Runs one layer in place of :func:`spatial_lstm.engine.run_layer`; attributes as in :class:`SplitRun`."""

    chain: Chain
    axis: int
    blocks: int | None
    recompute: bool
    timeout: timedelta | None

    def __call__(
        self,
        x: Tensor,
        weights: Weights,
        h0: Tensor | None,
        c0: Tensor | None,
        sizes: Tensor | None,
        options: StackOptions,
    ) -> tuple[Tensor, Faces, Faces]:
        """Arguments and results as in :func:`spatial_lstm.engine.run_layer`, of this rank's part; ``sizes`` is None."""
        if x.shape[0] == 0:
            return run_layer(x, weights, h0, c0, sizes, options)
        weights = weights.with_directions()
        present = {name: weight for name, weight in weights._asdict().items() if weight is not None}
        near = self._near(x, h0, c0, weights.weight_hh)
        recorded = torch.is_grad_enabled() and _any_requires_grad([x, near, *present.values()])
        cut = self._cut(x, weights, options)
        layer = SplitLayer(self.chain, cut, options, tuple(present), recorded, self.recompute, self.timeout)
        output, far = run_split(layer, x, near, list(present.values()))
        shapes = face_shapes(x.shape[0], x.shape[1:-1], output.shape[-1])
        merged = merge_directions(output, options.merge)
        return merged, own_faces(far[0].to(x.dtype), shapes), own_faces(far[1], shapes)

    def _near(self, x: Tensor, h0: Tensor | None, c0: Tensor | None, weight_hh: Tensor) -> Tensor:
        """Near faces ``(2, D, F, h)``."""
        extents = x.shape[1:-1]
        rows = sum(x.shape[0] * math.prod([*extents[:k], *extents[k + 1 :]]) for k in range(len(extents)))
        shape = (weight_hh.shape[0], rows, weight_hh.shape[-1] // len(extents))
        zeros = x.new_zeros(shape, dtype=state_dtype(x.dtype))
        return torch.stack([zeros if face is None else face.to(zeros.dtype) for face in (h0, c0)])

    def _cut(self, x: Tensor, weights: Weights, options: StackOptions) -> Cut:
        """Blocks along the longest axis that is not split, the same ones on all ranks."""
        batch, *extents, _ = x.shape
        along = max((k for k in range(len(extents)) if k != self.axis), key=lambda k: extents[k])
        extents[self.axis] = max(self.chain.extents)
        if self.blocks is not None:
            return cut_evenly(self.axis, along, extents[along], min(self.blocks, extents[along]))
        hidden = weights.weight_hh.shape[-1] // len(extents)
        face = batch * math.prod(extents) // extents[self.axis] * 2 * hidden * state_dtype(x.dtype).itemsize
        products = sum(2 * weight[0].numel() for weight in (weights.weight_ih, weights.weight_hh))
        sites = batch * math.prod(extents)
        work = Work(extents, along, sites * products, face, sites * weights.weight_hh.shape[1] * x.dtype.itemsize)
        heading = tuple(1 if letters[self.axis] == "f" else -1 for letters in options.directions)
        blocks = choose_blocks(work, len(self.chain.ranks), heading, COSTS["cuda" if x.is_cuda else "cpu"])
        return cut_evenly(self.axis, along, extents[along], blocks)


def _recorded(part: Tensor, layers: Sequence[Weights], state: tuple[Faces, Faces] | None) -> int:
    """Through how many layers a backward pass will go: down to the lowest that has anything to train, or that is given it."""
    if not torch.is_grad_enabled():
        return 0
    if _any_requires_grad([part, *_all_faces(state)]):
        return len(layers)
    trained = [depth for depth, weights in enumerate(layers) if _any_requires_grad(weights)]
    return len(layers) - trained[0] if trained else 0


def _all_faces(state: tuple[Faces, Faces] | None) -> list[Tensor | None]:
    """What a state has, right or wrong: it is checked later."""
    groups = [group for group in state or () if isinstance(group, (tuple, list))]
    return [face for group in groups for face in group]


def _any_requires_grad(tensors: Sequence[Tensor | None]) -> bool:
    return any(isinstance(tensor, Tensor) and tensor.requires_grad for tensor in tensors)
