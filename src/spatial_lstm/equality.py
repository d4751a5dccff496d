"""The layer against the NumPy reference on this machine, case by case: what ``python -m spatial_lstm check`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spatial_lstm.engine.kernels import UnsuitedError
from spatial_lstm.engine.router import backends
from spatial_lstm.modules import SpatialLSTM
from spatial_lstm.state import State

# The largest error allowed, relative to the larger of one and the largest expected entry.
# For the 16-bit types eight units in the last place: they store h and the gates, and gradients add up what was rounded there.
TOLERANCE = {
    torch.float64: 1e-12,
    torch.float32: 3e-5,
    torch.bfloat16: 8 * torch.finfo(torch.bfloat16).eps,
    torch.float16: 8 * torch.finfo(torch.float16).eps,
}

VARIANTS: dict[str, dict[str, Any]] = {
    "spatial": {"cell": "spatial"},
    "spatial-extended": {"cell": "spatial", "extended": True},
    "graves": {"cell": "graves"},
    "graves-peephole": {"cell": "graves", "peephole": True},
    "stable": {"cell": "stable"},
}
# Per number of axes: padded extents and each image's own, ones among both.
FIELDS = {1: ((5,), [[5], [2]]), 2: ((4, 3), [[4, 1], [2, 3]]), 3: ((3, 1, 2), [[3, 1, 1], [1, 1, 2]])}


@dataclass(frozen=True)
class Comparison:
    """One case: a layer of a cell, over some axes and directions, on one backend.

    Attributes:
        variant: A key of :data:`VARIANTS`.
        axes: Spatial axes.
        directions: As given to the layer; None for all-forward.
        device: Where it ran.
        dtype: In which type.
        backend: Its name.
        error: Largest error of output, far faces and all gradients, relative to the larger of one and the largest expected entry.
    """

    variant: str
    axes: int
    directions: str | None
    device: str
    dtype: torch.dtype
    backend: str
    error: float

    @property
    def bound(self) -> float:
        """What the error must not exceed."""
        return TOLERANCE[self.dtype]

    @property
    def passed(self) -> bool:
        """Whether it does not; NaN fails."""
        return self.error <= self.bound


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest absolute error over the larger of one and the largest expected entry; 0 for no elements.

    Raises:
        ValueError: If the shapes differ.
    """
    if found.shape != expected.shape:
        raise ValueError(f"expected shape {tuple(expected.shape)}, got {tuple(found.shape)}")
    if not expected.numel():
        return 0.0
    expected = expected.detach().double().cpu()
    return float((found.detach().double().cpu() - expected).abs().max() / expected.abs().max().clamp(min=1))


def compare(devices: Sequence[str] | None = None, seed: int = 0) -> Iterator[list[Comparison]]:
    """Yield, for every cell, number of axes, set of directions and device, the comparisons of every type and available backend.

    Each is a ragged batch of two images with random near faces, forward and backward. All numbers drawn are multiples of 1/64 below 4,
    which every type holds exactly, so that the reference in float64 starts from the same.
    """
    if devices is None:
        devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    names = [name for name, found in backends().items() if found == "available" and name != "reference"]
    for device in devices:
        for variant in VARIANTS:
            for axes in FIELDS:
                for directions in (None, "all"):
                    case = _Case.draw(variant, axes, directions, seed)
                    expected = case.run("reference", torch.float64, "cpu")
                    yield list(_comparisons(case, expected, names, device))


def _comparisons(case: _Case, expected: list[Tensor], names: Sequence[str], device: str) -> Iterator[Comparison]:
    for dtype in TOLERANCE:
        for name in names:
            try:
                found = case.run(name, dtype, device)
            except UnsuitedError:
                continue
            error = max(relative_error(a, b) for a, b in zip(found, expected, strict=True))
            yield Comparison(case.variant, case.layer.spatial_dims, case.directions, device, dtype, name, error)


@dataclass(frozen=True)
class _Case:
    """A layer with its input, near faces and sizes, in float64 on the CPU."""

    variant: str
    directions: str | None
    layer: SpatialLSTM
    inputs: list[Tensor]
    sizes: Tensor
    seed: int

    @classmethod
    def draw(cls, variant: str, axes: int, directions: str | None, seed: int) -> _Case:
        extents, sizes = FIELDS[axes]
        generator = torch.Generator().manual_seed(seed)
        layer = SpatialLSTM(3, 4, directions=directions, spatial_dims=axes, dtype=torch.float64, **VARIANTS[variant])
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(_draw(parameter.shape, generator, 0.5))
        rows = len(layer.directions)
        shapes = [(rows, 2, 4, *extents[:k], *extents[k + 1 :]) for k in range(axes)]
        inputs = [_draw(shape, generator) for shape in ((2, 3, *extents), *shapes, *shapes)]
        return cls(variant, directions, layer, inputs, torch.tensor(sizes), seed)

    def run(self, backend: str, dtype: torch.dtype, device: str) -> list[Tensor]:
        """Output, far faces, and the gradients of inputs, near faces and parameters."""
        axes = self.layer.spatial_dims
        layer = SpatialLSTM(
            3,
            4,
            directions=self.directions,
            spatial_dims=axes,
            device=device,
            dtype=dtype,
            backend=backend,
            **VARIANTS[self.variant],
        )
        layer.load_state_dict(self.layer.state_dict())
        inputs = [
            t.to(device, torch.promote_types(dtype, torch.float32) if place > axes else dtype).requires_grad_()
            for place, t in enumerate(self.inputs)
        ]
        near = State(tuple(inputs[1 : axes + 1]), tuple(inputs[axes + 1 :]))
        output, far = layer(inputs[0], near, sizes=self.sizes)
        outputs = [output, *far.h, *far.c]
        generator = torch.Generator().manual_seed(self.seed + 1)
        weights = [_draw(t.shape, generator).to(t) for t in outputs]
        gradients = torch.autograd.grad(outputs, [*inputs, *layer.parameters()], weights)
        return [*outputs, *gradients]


def _draw(shape: Sequence[int], generator: torch.Generator, scale: float = 1.0) -> Tensor:
    """Normal numbers in multiples of 1/64, smaller than 4."""
    drawn = torch.randn(tuple(shape), generator=generator, dtype=torch.float64) * scale
    return (drawn * 64).round().clamp(-255, 255) / 64
