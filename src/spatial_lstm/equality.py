"""The layer against the NumPy reference on this machine, case by case: what ``python -m spatial_lstm check`` prints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from spatial_lstm.engine import UnsuitedError, backends
from spatial_lstm.modules import SpatialLSTM
from spatial_lstm.state import State

# The largest error allowed in any one tensor, see `relative_error`. In float64 and float32 some hundreds of units in the last place, which
# sums over all sites need. The 16-bit types store h and the gates in 8 and 11 bits: rounding alone leaves 0.4 % and 0.05 % at a time; a
# cell's equations taken for another's leave 20 % and more.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}

VARIANTS: dict[str, dict[str, Any]] = {
    "spatial": {"cell": "spatial"},
    "spatial-extended": {"cell": "spatial", "extended": True},
    "graves": {"cell": "graves"},
    "graves-peephole": {"cell": "graves", "peephole": True},
    "stable": {"cell": "stable"},
    "diagonal": {"cell": "diagonal"},
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
        error: The largest :func:`relative_error` of output, far faces and all gradients.
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


def relative_error(found: Tensor, expected: Tensor, dtype: torch.dtype) -> float:
    """How far a tensor computed in ``dtype`` is from what it should be; 0 for no elements, infinite where zeros were expected and missed.

    For float64 and float32 the largest error over the largest expected entry; for the 16-bit types, whose single entries are rounded too
    coarsely to tell a small fault from none, the root mean square of the error over that of the expected tensor.

    Raises:
        ValueError: If the shapes differ.
    """
    if found.shape != expected.shape:
        raise ValueError(f"expected shape {tuple(expected.shape)}, got {tuple(found.shape)}")
    if not expected.numel():
        return 0.0
    expected = expected.detach().double().cpu()
    size = _root_mean_square if dtype in (torch.float16, torch.bfloat16) else _largest
    error = size(found.detach().double().cpu() - expected)
    return error if error == 0 else error / size(expected) if expected.any() else math.inf


def _largest(tensor: Tensor) -> float:
    return float(tensor.abs().max())


def _root_mean_square(tensor: Tensor) -> float:
    return float(tensor.square().mean().sqrt())


def compare(
    devices: Sequence[str] | None = None,
    seed: int = 0,
    variants: Iterable[str] | None = None,
    axes: Iterable[int] | None = None,
) -> Iterator[list[Comparison]]:
    """Yield, for every cell, number of axes, set of directions and device, the comparisons of every type and available backend.

    All cells, of :data:`VARIANTS`, and all numbers of axes, of :data:`FIELDS`, unless some are asked for.

    Each is a ragged batch of two images with random near faces, forward and backward. All numbers drawn are multiples of 1/64 below 4,
    which every type holds exactly, so that the reference in float64 starts from the same.
    """
    if devices is None:
        devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    names = [name for name, found in backends().items() if found.startswith("available") and name != "reference"]
    for device in devices:
        for variant, n, directions in product(variants or VARIANTS, axes or FIELDS, (None, "all")):
            case = _Case.draw(variant, n, directions, seed)
            expected = case.run("reference", torch.float64, "cpu")
            yield list(_comparisons(case, expected, names, device))


def _comparisons(case: _Case, expected: list[Tensor], names: Sequence[str], device: str) -> Iterator[Comparison]:
    for dtype in TOLERANCE:
        for name in names:
            try:
                found = case.run(name, dtype, device)
            except UnsuitedError:
                continue
            error = max(relative_error(a, b, dtype) for a, b in zip(found, expected, strict=True))
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
        layer = SpatialLSTM(
            3, 4, directions=directions, spatial_dims=axes, device="cpu", dtype=torch.float64, **VARIANTS[variant]
        )
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(_draw(parameter.shape, generator, 0.5))
        rows = len(layer.directions)
        shapes = [(rows, 2, 4, *extents[:k], *extents[k + 1 :]) for k in range(axes)]
        inputs = [_draw(shape, generator) for shape in ((2, 3, *extents), *shapes, *shapes)]
        return cls(variant, directions, layer, inputs, torch.tensor(sizes, device="cpu"), seed)

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
    drawn = torch.randn(tuple(shape), generator=generator, dtype=torch.float64, device="cpu") * scale
    return (drawn * 64).round().clamp(-255, 255) / 64
