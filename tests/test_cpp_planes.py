"""Copies with the channels last of what has them first: bit by bit torch's, whatever the strides."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from spatial_lstm import SpatialLSTM
from spatial_lstm.engine.kernels import as_rows
from spatial_lstm.engine.kernels.cpp import planes, structures

BITS = {torch.float32: torch.int32, torch.float64: torch.int64, torch.bfloat16: torch.int16}
Cut = Callable[[Tensor], Tensor]
# What is made of (N, C, H, W), and its images, runs, sites and channels.
CUTS: dict[str, tuple[Cut, tuple[int, ...]]] = {
    "images": (lambda x: x, (1, 3, 1450, 37)),
    "one image": (lambda x: x[1:2], (1, 1, 1450, 37)),
    "every other image": (lambda x: x[::2], (1, 2, 1450, 37)),
    "some channels": (lambda x: x[:, 5:24], (1, 3, 1450, 19)),
    "every other channel": (lambda x: x[:, 1::2], (1, 3, 1450, 18)),
    "rows of one image": (lambda x: x[:1, :, 3:20], (1, 1, 850, 37)),
    "rows": (lambda x: x[..., 3:20, :], (1, 3, 850, 37)),
    "a window of one image": (lambda x: x[2:, :, 3:20, 11:48], (1, 17, 37, 37)),
    "windows": (lambda x: x[..., 3:20, 11:48], (3, 17, 37, 37)),
    "windows of a volume": (lambda x: x[:1].unflatten(3, (5, 10))[..., 3:20, 1:4, 1:10], (17, 3, 9, 37)),
    "lines": (lambda x: x.flatten(2), (1, 3, 1450, 37)),
    "volumes": (lambda x: x.unflatten(3, (5, 10)), (1, 3, 1450, 37)),
    "channels shared": (lambda x: x[:, :1].expand(-1, 20, -1, -1), (1, 3, 1450, 20)),
    "misaligned": (
        lambda x: x.flatten()[1:].unfold(0, 37 * 1450, 37 * 1450).unflatten(1, (37, 29, 50)),
        (1, 2, 1450, 37),
    ),
}
pytestmark = pytest.mark.usefixtures("cpp_kernel")


def any_bits(dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """Numbers of all kinds: denormal ones, infinite ones and those that are none."""
    torch.manual_seed(0)
    info = torch.iinfo(BITS[dtype])
    return torch.randint(info.min, info.max, shape, dtype=BITS[dtype]).view(dtype)


def as_bits(tensor: Tensor) -> Tensor:
    return tensor.view(BITS[tensor.dtype])


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("dtype", BITS, ids=str)
@pytest.mark.parametrize("cut", CUTS)
def test_copies_are_torchs(cut: str, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(planes, "OF_A_THREAD", 1)
    of, sizes = CUTS[cut]
    moved = of(any_bits(dtype, (3, 37, 29, 50))).movedim(1, -1)
    found = planes._planes(moved)
    assert found is not None
    assert found[:4] == sizes
    copy = as_rows(moved)
    assert copy.is_contiguous()
    assert torch.equal(as_bits(copy), as_bits(moved.contiguous()))


@pytest.mark.parametrize(
    "moved",
    [
        torch.zeros(3, 29, 50, 37),  # nothing to do
        torch.zeros(3, 37, 29, 50).movedim(1, -1).half(),
        torch.zeros(3, 4, 290, 50).movedim(1, -1),  # few channels
        torch.zeros(1450, 37, 3).movedim(1, -1),  # few sites
        torch.zeros(3, 37, 29, 5, 10).movedim(1, -1)[:, 3:20, 1:4, 1:9],  # windows of several volumes
        torch.zeros(3, 37, 29, 50).movedim(1, -1)[:, :, ::2],
        torch.zeros(3, 29, 50, 64)[..., ::2],
        torch.zeros(()).expand(3, 29, 50, 64),
        torch.zeros(3, 64, 29, 50).movedim(1, -1)._neg_view(),
        torch.zeros(3, 64, 29, 50, device="meta").movedim(1, -1),
    ],
    ids=lambda moved: f"{tuple(moved.shape)} by {moved.stride()}",
)
def test_the_rest_is_left_to_torch(moved: Tensor) -> None:
    copy = as_rows(moved)
    assert copy.is_contiguous()
    assert copy.shape == moved.shape
    if not moved.is_meta:
        assert copy.data_ptr() == moved.data_ptr() or planes._planes(moved) is None
        assert torch.equal(copy, moved)


def test_small_ones_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = torch.randn(3, 37, 3, 7).movedim(1, -1)
    monkeypatch.setattr(planes, "_planes", None)
    assert torch.equal(as_rows(moved), moved)


@pytest.mark.parametrize("merge", ["concat", "sum", "mean"])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 20)}], ids=["whole", "in tiles"])
@pytest.mark.parametrize("directions", [None, ["rf"], ["ff", "rr"]])
def test_a_layer_computes_the_same_from_both_layouts(
    directions: list[str] | None, options: dict[str, tuple[int, ...]], merge: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[tuple[int, ...]] = []
    pack = structures.PLANES.pack

    def note(*numbers: int) -> bytes:
        copied.append(numbers)
        return pack(*numbers)

    monkeypatch.setattr(structures.PLANES, "pack", note)
    monkeypatch.setattr(planes, "LEAST", 1 << 10)
    found = []
    for last in (False, True):
        torch.manual_seed(0)
        layer = SpatialLSTM(17, 12, directions=directions, merge=merge, channels_last=last, backend="cpp", **options)
        features = layer(torch.zeros(17, 1, 1) if not last else torch.zeros(1, 1, 17))[0].numel()
        x, grad = torch.randn(2, 17, 21, 40), torch.randn(2, features, 21, 40)
        if last:
            x, grad = x.movedim(1, -1).contiguous(), grad.movedim(1, -1).contiguous()
        copied.clear()
        output, _ = layer(x.requires_grad_())
        output.backward(grad)
        assert x.grad is not None
        # The input forward and backward, and the gradient, which directions that are merged share; in tiles, of each.
        assert len(copied) == 0 if last else len(copied) >= 3 if options else len(copied) == 3
        results = [output, x.grad]
        found.append([t if last else t.movedim(1, -1) for t in results] + [p.grad for p in layer.parameters()])
    for first, second in zip(*found, strict=True):
        assert torch.equal(first, second)
