"""A layer over a field that is split over ranks, as one differentiable operation.

Each block is a small layer of its own. What the backward needs of it is the block's own graph, or, where it is to be recomputed, its near
faces alone. The backward pass walks the schedule from its end, and the gradients of near faces travel against the faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spatial_lstm.distributed.chain import add_up
from spatial_lstm.distributed.faces import Faces, join_faces, split_faces
from spatial_lstm.distributed.layer import SplitLayer
from spatial_lstm.distributed.relay import Relay
from spatial_lstm.distributed.schedule import Item
from spatial_lstm.engine import state_dtype


class Kept(NamedTuple):
    """A block for the backward: ``x``, near faces and weights, leaves of its graph, and its output and far faces, if not recomputed."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, Tensor] | None


def run_split(layer: SplitLayer, x: Tensor, near: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return this rank's part of the output, ``(N, *S, D, h)``, and the far faces of that part, ``(2, D, F, h)``, h and then c.

    Args:
        layer: How it runs.
        x: This rank's part of the input, ``(N, *S, C)``, which may be empty along the split axis.
        near: Near faces ``(2, D, F, h)``; of those of the split axis the ones are read that lie on the field's border.
        weights: As ``layer`` names them, alike on all ranks. Their gradients are summed over the ranks.
    """
    output, far = _Split.apply(layer, x, near, *weights)  # type: ignore[no-untyped-call]
    return output, far


class _Split(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layer: SplitLayer, x: Tensor, near: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        walk = _Forward(layer, x, near, weights)
        walk.run()
        ctx.layer, ctx.kept = layer, walk.kept
        ctx.save_for_backward(x, near, *weights)
        return walk.output, walk.far

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor, grad_far: Tensor) -> tuple[Tensor | None, ...]:
        kept, ctx.kept = ctx.kept, None
        if kept is None:
            raise RuntimeError("expected one backward pass through a layer that is split over ranks, got a second one")
        x, near, *weights = ctx.saved_tensors
        walk = _Backward(ctx.layer, x, near, weights, kept, grad_output, grad_far)
        walk.run()
        sums = add_up(walk.grad_weights, ctx.layer.chain.group, ctx.layer.timeout)
        found = [walk.grad_x, walk.grad_near, *(total.to(w.dtype) for total, w in zip(sums, weights, strict=True))]
        return None, *(grad if needs else None for grad, needs in zip(found, ctx.needs_input_grad[1:], strict=True))


class _Walk:
    """What both passes have: the part's tensors, and the face of each direction's block before the present one."""

    def __init__(self, layer: SplitLayer, x: Tensor, near: Tensor, weights: Sequence[Tensor]) -> None:
        self.layer = layer
        self.cut = layer.cut
        self.x = x
        self.batch, self.extents = x.shape[0], x.shape[1:-1]
        self.near = near
        self.hidden = near.shape[-1]
        wanted = layer.recorded
        # one leaf for each direction, in which a block's graph ends
        self.weights = [
            [w[d : d + 1].detach().requires_grad_(wanted and w.requires_grad) for w in weights]
            for d in range(near.shape[1])
        ]
        self.carried: dict[int, Tensor] = {}

    def faces(self, rows: Tensor) -> Faces:
        """The faces of the part in a tensor like ``near``."""
        return Faces(rows, self.batch, self.extents, self.cut)

    def split(self, rows: Tensor, block: int) -> list[Tensor]:
        """The faces of a block ``(2, N, *S without k, h)`` from its rows ``(2, 1, F, h)``."""
        length = self.cut.span(block)[1]
        extents = [length if k == self.cut.along else extent for k, extent in enumerate(self.extents)]
        return split_faces(rows[:, 0], self.batch, extents)

    def of_block(self, output: Tensor, direction: int, block: int) -> Tensor:
        """A view of a direction's share of a block of the output or its gradient."""
        return self.cut.block(output, block)[..., direction : direction + 1, :]

    def relay(self, backward: bool) -> Relay:
        """What exchanges faces, or gradients of faces, with the neighbors."""
        layer, what = self.layer, "the gradient of the faces" if backward else "the faces"
        others = [k for k in range(len(self.extents)) if k != self.cut.split]

        def buffer(item: Item) -> Tensor:
            length = self.cut.span(layer.block(item))[1]
            shape = [length if k == self.cut.along else self.extents[k] for k in others]
            return self.near.new_empty((2, self.batch, *shape, self.hidden))

        heading = tuple(-way for way in layer.heading) if backward else layer.heading
        return Relay(layer.chain, heading, buffer, lambda item: f"{what} of {layer.describe(item)}", layer.timeout)


class _Forward(_Walk):
    """Fills ``output`` and ``far`` block by block, and ``kept`` with what the backward needs."""

    def __init__(self, layer: SplitLayer, x: Tensor, near: Tensor, weights: Sequence[Tensor]) -> None:
        super().__init__(layer, x, near, weights)
        self.output = x.new_empty((*x.shape[:-1], near.shape[1], self.hidden))
        self.far = torch.zeros_like(near)
        self.kept: dict[Item, Kept] = {}
        self._near_faces, self._far_faces = self.faces(near), self.faces(self.far)

    def run(self) -> None:
        self.relay(backward=False).run(self.layer.schedule, self._compute)

    def _compute(self, item: Item, received: Tensor | None) -> Tensor:
        block, direction = self.layer.block(item), item.direction
        kept = self._run_block(item, self._enter(item, block, received))
        output, far = (tensor.detach() for tensor in kept.outputs or ())
        self.of_block(self.output, direction, block).copy_(output)
        faces = self.split(far, block)
        for axis, face in enumerate(faces):
            self._far_faces.of_block(axis, direction, block).copy_(face)
        self.carried[direction] = faces[self.cut.along]
        if self.layer.recorded:
            self.kept[item] = kept._replace(outputs=None) if self.layer.recompute else kept
        return faces[self.cut.split].contiguous()

    def _enter(self, item: Item, block: int, received: Tensor | None) -> Tensor:
        """A block's near faces: from the neighbor, from the block before, and from the part's border."""
        direction = item.direction
        faces = [self._near_faces.of_block(axis, direction, block) for axis in range(len(self.extents))]
        if received is not None:
            faces[self.cut.split] = received
        if direction in self.carried:
            faces[self.cut.along] = self.carried[direction]
        return join_faces(faces)

    def _run_block(self, item: Item, near: Tensor) -> Kept:
        x, recorded = self.cut.block(self.x, self.layer.block(item)), self.layer.recorded
        leaves = x.detach().requires_grad_(recorded and self.x.requires_grad), near.requires_grad_(recorded)
        inputs = (*leaves, *self.weights[item.direction])
        # Hooks from outside stay outside: those of torch.utils.checkpoint would run the whole layer anew for each block's graph, while
        # the other ranks are elsewhere in the schedule and wait for faces.
        hooks = torch.autograd.graph.saved_tensors_hooks(Tensor.detach, Tensor.detach)
        with torch.set_grad_enabled(recorded and not self.layer.recompute), hooks:
            return Kept(inputs, self.layer.compute(item.direction, *inputs))


class _Backward(_Walk):
    """Adds up ``grad_x`` and ``grad_weights``, and fills ``grad_near``, block by block from the last to the first."""

    def __init__(
        self,
        layer: SplitLayer,
        x: Tensor,
        near: Tensor,
        weights: Sequence[Tensor],
        kept: dict[Item, Kept],
        grad_output: Tensor,
        grad_far: Tensor,
    ) -> None:
        super().__init__(layer, x, near, weights)
        self.grad_x = torch.zeros_like(x, memory_format=torch.contiguous_format)
        self.grad_near = torch.zeros_like(near)
        # summed over blocks and ranks in no less than float32
        self.grad_weights = [torch.zeros_like(w, dtype=state_dtype(w.dtype)) for w in weights]
        self._kept = kept
        self._grad_output = grad_output
        self._grad_far = self.faces(grad_far)
        self._grad_near = self.faces(self.grad_near)

    def run(self) -> None:
        self.relay(backward=True).run(self.layer.schedule[::-1], self._compute)

    def _compute(self, item: Item, received: Tensor | None) -> Tensor:
        block, direction = self.layer.block(item), item.direction
        grad_x, grad_near, *grad_weights = self._differentiate(item, self._enter(item, block, received))
        if grad_near is None:
            raise RuntimeError("expected near faces to be part of a block's graph, got none")
        if grad_x is not None:
            self.cut.block(self.grad_x, block).add_(grad_x)
        for total, grad in zip(self.grad_weights, grad_weights, strict=True):
            if grad is not None:
                total[direction : direction + 1].add_(grad)
        faces = self.split(grad_near, block)
        for axis, face in enumerate(faces):
            if axis != self.cut.split or self.layer.is_entered_at(direction):
                self._grad_near.of_block(axis, direction, block).copy_(face)
        self.carried[direction] = faces[self.cut.along]
        return faces[self.cut.split].contiguous()

    def _enter(self, item: Item, block: int, received: Tensor | None) -> Tensor:
        """Gradients of a block's far faces: what the neighbor, the block behind and the part's own far faces give."""
        direction = item.direction
        faces = [self._grad_far.of_block(axis, direction, block) for axis in range(len(self.extents))]
        if received is not None:
            faces[self.cut.split] = faces[self.cut.split] + received
        if direction in self.carried:
            faces[self.cut.along] = self.carried[direction]
        return join_faces(faces)

    def _differentiate(self, item: Item, grad_far: Tensor) -> list[Tensor | None]:
        """Gradients of a block's inputs, None where none is wanted."""
        inputs, outputs = self._kept.pop(item)
        with torch.enable_grad():
            outputs = self.layer.compute(item.direction, *inputs) if outputs is None else outputs
        grad_output = self.of_block(self._grad_output, item.direction, self.layer.block(item))
        wanted = [tensor for tensor in inputs if tensor.requires_grad]
        found = iter(torch.autograd.grad(outputs, wanted, (grad_output, grad_far), allow_unused=True))
        return [next(found) if tensor.requires_grad else None for tensor in inputs]
