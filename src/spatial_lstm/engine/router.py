"""Which implementation runs: the operator, the composite or the reference."""

from __future__ import annotations

import torch
from torch import Tensor

from spatial_lstm.engine import composite, modes, operator, reference_backend, skewed
from spatial_lstm.engine.compute import Options
from spatial_lstm.engine.kernels import FOLDED, GATES, KERNELS, NOTHING, STATES
from spatial_lstm.engine.layout import with_faces
from spatial_lstm.engine.tensors import Tensors

BACKENDS = ("auto", "composite", "reference", *KERNELS)


def backends() -> dict[str, str]:
    """Return every backend's name with ``"available"``, after which may stand what there is to know, or why it cannot run on this machine.

    Nothing is compiled for it: before its first use the C++ kernel is ``"available, compiled on first use"``.
    ``"auto"`` takes the first kernel in this order that suits the layer and its device. ``"composite"`` is plain differentiable
    torch, which runs under forward-mode AD and ``torch.func`` transforms. ``"reference"`` is the NumPy specification.
    """
    found = {name: kernel.status() for name, kernel in KERNELS.items()}
    return {**found, "composite": "available", "reference": "available"}


def composite_needed() -> bool:
    """Whether the program is run in a way that a custom operator cannot follow."""
    return modes.forward_mode_active() or modes.functorch_active() or modes.onnx_export_active()


def recurrence(
    tensors: Tensors,
    sizes: Tensor | None,
    directions: tuple[str, ...],
    cell: str,
    *,
    recompute: bool,
    saved_gates: str | None,
    backend: str,
    together: bool,
) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Run one layer; return the output and the n far faces ``(D, N, h, *S without k)`` of h and of c.

    Args:
        tensors: What the layer computes from.
        sizes: ``(N, n)`` int64 on the CPU, or None.
        directions: One string of ``f`` and ``r`` each.
        cell: Name of the cell.
        recompute: Save only h and c for the backward, and recompute the gates there.
        saved_gates: ``"bfloat16"``: save the gates of a float32 layer in 16 bits. None: save them as they are.
        backend: One of :data:`BACKENDS`.
        together: Whether the output is to be ``(N, *S, D h)``, else ``(N, *S, D, h)``.

    Raises:
        ValueError: If a pinned backend cannot run here.
    """
    names = ",".join(directions)
    needed = composite_needed()
    if backend == "composite" or (needed and backend == "auto"):
        return _joined(together, *with_faces(*run_composite(tensors.with_directions(), sizes, names, cell)))
    if needed:
        raise ValueError(
            f"expected backend 'auto' or 'composite' under forward-mode AD, torch.func transforms and ONNX export, got {backend!r}"
        )
    if backend == "reference":
        return _joined(
            together, *with_faces(*reference_backend.forward(tensors.with_directions(), sizes, directions, cell))
        )
    # Not any(), which takes twice the time, nor the truth of a list, which torch 2.6 does not compile.
    training = torch.is_grad_enabled() and len([t for t in tensors if t is not None and t.requires_grad]) > 0
    # A traced program decides each time that it runs.
    keep = _to_keep(tensors.x.dtype, recompute, saved_gates) if training or modes.traced() else NOTHING
    return operator.run(tensors, Options(sizes, names, cell, backend), keep, together=together)


def _to_keep(dtype: torch.dtype, recompute: bool, saved_gates: str | None) -> str:
    """What a forward pass keeps for a backward; the gates of 16-bit layers have 16 bits in any case."""
    if recompute:
        return STATES
    return GATES if saved_gates is None or dtype != torch.float32 else FOLDED


def _joined(
    together: bool, output: Tensor, h: tuple[Tensor, ...], c: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The directions of ``output`` side by side, if they are to be ``together``."""
    return output.flatten(-2) if together else output, h, c


def run_composite(tensors: Tensors, sizes: Tensor | None, directions: str, cell: str) -> tuple[Tensor, Tensor, Tensor]:
    """Plain torch: from tables of the sites that exist, or without tables where sizes have no values.

    Raises:
        ValueError: In the exporter to ONNX that goes through TorchScript.
    """
    if not modes.onnx_export_active():
        if modes.without_values(tensors.x, sizes) or modes.traced():
            return skewed.forward(tensors, sizes, directions, cell, skewed.unrolled)
        return composite.forward(tensors, sizes, directions, cell)
    if not torch.compiler.is_compiling():
        raise ValueError(
            "expected torch.onnx.export(.., dynamo=True), got dynamo=False, whose graph would hold for one size alone"
        )
    transformed = modes.forward_mode_active() or modes.functorch_active()
    return skewed.forward(tensors, sizes, directions, cell, skewed.unrolled if transformed else skewed.scanned)
