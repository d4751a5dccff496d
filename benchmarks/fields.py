"""What a layer is run on: sizes, inputs, and what it should compute."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import Contestant, WrongResultError
from spatial_lstm import SpatialLSTM, backends
from spatial_lstm.engine.kernels import UnsuitedError
from spatial_lstm.equality import TOLERANCE

# The largest extent on which a very large field is checked, and the largest batch.
PART = 32
PART_BATCH = 2


@dataclass(frozen=True)
class Size:
    """One layer on one batch of grids."""

    batch: int
    extents: tuple[int, ...]
    channels: int
    hidden: int
    directions: str | None = None  # None for all forward, or "all"

    @property
    def sites(self) -> int:
        """Sites of one direction."""
        return self.batch * math.prod(self.extents)

    @property
    def ways(self) -> int:
        """How many directions there are."""
        return 1 if self.directions is None else 2 ** len(self.extents)

    @property
    def label(self) -> str:
        """For example ``16 x 8x8, 26 to 64``: batch, extents, channels in, features out."""
        return f"{self.batch} x {'x'.join(map(str, self.extents))}, {self.channels} to {self.hidden}"

    def as_kept(self) -> dict[str, Any]:
        """As results keep it, by its fields and its label."""
        return asdict(self) | {"label": self.label}

    def part(self) -> Size:
        """The first corner of the first images."""
        return replace(self, batch=min(self.batch, PART_BATCH), extents=tuple(min(e, PART) for e in self.extents))


def new_layer(
    size: Size,
    backend: str,
    *,
    recompute: bool = False,
    saved_gates: str | None = None,
    tile: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
) -> SpatialLSTM:
    """A layer of this size, channels last."""
    return SpatialLSTM(
        size.channels,
        size.hidden,
        channels_last=True,
        directions=size.directions,
        spatial_dims=len(size.extents),
        backend=backend,
        recompute=recompute,
        saved_gates=saved_gates,
        tile=tile,
        dtype=dtype,
    )


class Field:
    """A layer's parameters, an input and an output gradient, drawn from one seed; channels come last.

    With ``whole=False`` the output's gradient is zero outside the first corner of the first images. All states there, and so all the
    gradients, depend on that corner alone, and any field is checked at its full size against a small one. (All-forward alone.)
    """

    def __init__(self, size: Size, *, whole: bool = True, dtype: torch.dtype = torch.float32) -> None:
        self.size = size
        self.part = size if whole else size.part()
        if self.part != size and size.directions is not None:
            raise ValueError(f"expected all-forward where a part is checked, got directions={size.directions!r}")
        generator = torch.Generator().manual_seed(1)
        torch.manual_seed(0)
        layer = new_layer(size, "composite", dtype=dtype)
        self.weights = layer.state_dict()
        self.x = torch.randn((size.batch, *size.extents, size.channels), generator=generator, dtype=dtype)
        features = size.hidden * len(layer.directions)
        self.grad = torch.zeros((size.batch, *size.extents, features), dtype=dtype)
        self.crop(self.grad).normal_(generator=generator)
        self.expected = {mode: cache(self._expected(mode)) for mode in (False, True)}

    def make_layer(self, backend: str, *, recompute: bool = False, dtype: torch.dtype = torch.float32) -> SpatialLSTM:
        """The layer under test, in any backend."""
        layer = new_layer(self.size, backend, recompute=recompute, dtype=dtype)
        layer.load_state_dict(self.weights)
        return layer

    def crop(self, tensor: Tensor) -> Tensor:
        """The part of an input or output that is checked: itself where that is all, as opponents do not index theirs either."""
        if self.part == self.size:
            return tensor
        return tensor[(slice(self.part.batch), *(slice(e) for e in self.part.extents))]

    def _expected(self, training: bool) -> Callable[[], list[Tensor]]:
        """Results of the composite in float64, itself compared with the NumPy reference on a small corner first."""

        def compute() -> list[Tensor]:
            x, grad = self.crop(self.x).double(), self.crop(self.grad).double()
            corner = (slice(2), *(slice(5) for _ in self.size.extents))
            layers = [self.make_layer(name, dtype=torch.float64) for name in ("composite", "reference")]
            compare_with_reference(*(run_layer(layer, x[corner], grad[corner]) for layer in layers))
            return run_layer(layers[0], x, grad if training else None)

        return compute


def run_layer(layer: SpatialLSTM, x: Tensor, grad: Tensor | None, **options: Any) -> list[Tensor]:
    """The output, and in training the gradients of input and parameters."""
    if grad is None:
        with torch.no_grad():
            return [layer(x, **options)[0]]
    x = x.detach().requires_grad_()
    output = layer(x, **options)[0]
    return [output.detach(), *torch.autograd.grad(output, [x, *layer.parameters()], grad)]


def compare_with_reference(found: list[Tensor], reference: list[Tensor]) -> None:
    """Refuse the composite's float64 results that differ from the NumPy reference's.

    Raises:
        WrongResultError: If they do.
    """
    require_equal("the composite in float64", found, "the NumPy reference", reference)


def require_equal(name: str, found: list[Tensor], other: str, expected: list[Tensor]) -> None:
    """Refuse one's float64 results that differ from another's.

    Raises:
        WrongResultError: If they do.
    """
    for a, b in zip(found, expected, strict=True):
        bound = TOLERANCE[torch.float64] * max(1.0, float(b.detach().abs().max()))
        if not float((a - b).detach().abs().max()) <= bound:
            raise WrongResultError(f"expected {name} to equal {other}, it does not")


def entry(field: Field, backend: str, *, training: bool, recompute: bool = False) -> Contestant:
    """One backend of ours on a field, in the field's type."""
    layer = field.make_layer(backend, recompute=recompute, dtype=field.x.dtype)

    def run() -> list[Tensor]:
        results = run_layer(layer, field.x, field.grad if training else None)
        results[:2] = [field.crop(tensor) for tensor in results[:2]]
        return results

    return Contestant(f"{backend}, recompute" if recompute else backend, run, field.expected[training])


def kernels(size: Size) -> list[str]:
    """The kernels that are available and run this layer on the CPU; one made for another device or layer refuses it."""
    available = [name for name, state in backends().items() if state.startswith("available")]
    return [name for name in available if name not in ("composite", "reference") and _runs(name, size)]


def _runs(kernel: str, size: Size) -> bool:
    """Try a layer on one site, which also compiles and loads what is compiled and loaded on first use."""
    layer = new_layer(size, kernel)
    try:
        layer(torch.zeros(1, *(1 for _ in size.extents), size.channels))
    except UnsuitedError:
        return False
    return True


def entries(field: Field, *, training: bool) -> list[Contestant]:
    """Every backend of ours that runs here, and in training each kernel's mode that recomputes the gates."""
    names = kernels(field.size)
    ours = [entry(field, name, training=training) for name in [*names, "composite"]]
    return [*ours, *(entry(field, name, training=True, recompute=True) for name in names if training)]
