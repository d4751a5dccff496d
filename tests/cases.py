"""What the tests draw from: layers, inputs, states, and how they compare; cells and tolerances are those of the library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from spatial_lstm import SpatialLSTM, State
from spatial_lstm.engine import get_cell
from spatial_lstm.equality import TOLERANCE, VARIANTS, relative_error

EXTENTS = {1: (5,), 2: (4, 3), 3: (3, 1, 2), 4: (2, 1, 3, 2)}
SIZES = {1: [[5], [2]], 2: [[4, 1], [2, 3]], 3: [[3, 1, 1], [1, 1, 2]], 4: [[2, 1, 3, 2], [1, 1, 2, 2]]}


def make_layer(variant: str = "spatial", *args: Any, scale: float = 0.5, **options: Any) -> SpatialLSTM:
    """A layer with all parameters, biases too, drawn wide enough that every term matters."""
    layer = SpatialLSTM(*(args or (3, 4)), **VARIANTS[variant], **{"dtype": torch.float64, **options})
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, 0, scale)
    return layer


def make_input(layer: SpatialLSTM, batch: int = 2, extents: Sequence[int] | None = None, grad: bool = True) -> Tensor:
    extents = EXTENTS[layer.spatial_dims] if extents is None else extents
    channels = layer.input_size
    shape = (batch, *extents, channels) if layer.channels_last else (batch, channels, *extents)
    like = next(layer.parameters())
    return torch.randn(shape, dtype=like.dtype, device=like.device, requires_grad=grad)


def make_state(layer: SpatialLSTM, batch: int, extents: Sequence[int], grad: bool = True) -> State:
    like = next(layer.parameters())
    rows = layer.num_layers * len(layer.directions)

    def faces() -> tuple[Tensor, ...]:
        return tuple(
            torch.randn(
                (rows, batch, layer.hidden_size, *extents[:k], *extents[k + 1 :]), dtype=like.dtype, requires_grad=grad
            )
            for k in range(layer.spatial_dims)
        )

    return State(faces(), faces())


def knows(backend: str, variant: str) -> bool:
    """Whether a backend has the cell's equations; those without a language of their own run any cell."""
    family = backend.split("-")[0]
    return family not in ("cpp", "triton") or family in get_cell(VARIANTS[variant]["cell"]).kernels


def faces(state: State) -> list[Tensor]:
    """All faces, h then c, none of them None."""
    return [face for group in state for face in group if face is not None]


def gradients(outputs: Iterable[Tensor], inputs: Sequence[Tensor], seed: int = 1) -> list[Tensor]:
    """Gradients of a random linear functional of the outputs."""
    generator = torch.Generator().manual_seed(seed)
    loss = torch.stack(
        [(t * torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t)).sum() for t in outputs]
    )
    return list(torch.autograd.grad(loss.sum(), inputs, allow_unused=True, materialize_grads=True))


def assert_close(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    """Each equal to the tolerance of the coarsest type found: a 16-bit layer's c is float32, and no more exact for it."""
    assert len(found) == len(expected)
    dtype = max((t.dtype for t in found), key=lambda dtype: torch.finfo(dtype).eps)
    for place, (a, b) in enumerate(zip(found, expected, strict=True)):
        error = relative_error(a, b, dtype)
        assert error <= TOLERANCE[dtype], f"tensor {place}: error {error:.3g}"
