"""How PyTorch's layers run on a ragged batch: what each makes of the sizes, and what it needs so that padding reaches nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from spatial_lstm.modules.layer import SpatialLSTM
from spatial_lstm.modules.sized.layout import cropped
from spatial_lstm.modules.sized.module import SizedModule
from spatial_lstm.modules.sized.ragged import Ragged, Sheet

Extent = TypeVar("Extent", int, Tensor)


class Rule:
    """How one kind of layer runs: here one that works site by site.

    Args:
        axes: Spatial axes that the layer works on; None for any number.
        keeps_zero: Whether it makes zero of zero.
    """

    def __init__(self, axes: int | None = None, *, keeps_zero: bool = False) -> None:
        self._axes = axes
        self._keeps_zero = keeps_zero

    def axes(self, module: Any) -> int | None:
        """Spatial axes that this very layer works on."""
        return self._axes

    def check(self, module: Any) -> None:
        """Refuse options under which an image would see padding."""

    def extents(self, module: Any, sizes: Tensor) -> Tensor:
        """Output sizes of input sizes, both ``(N, n)``."""
        return sizes

    def after(self, module: Any, own: Sequence[int]) -> Sequence[int]:
        """Output extents of an image that fills its batch, having refused one that is too small."""
        return own

    def dense(self, module: Any, x: Tensor) -> Tensor:
        """The layer's output of images that fill their batch, which they fill, too."""
        output: Tensor = module(x)
        return output

    def run(self, module: Any, images: Ragged) -> Ragged:
        """The layer's output."""
        return images.each(module, zero=self._keeps_zero)


class WindowRule(Rule):
    """A convolution: windows over the border see zeros."""

    border = 0.0

    def check(self, module: Any) -> None:
        if module.padding_mode != "zeros":
            raise ValueError(f"expected a convolution with padding_mode='zeros', got {module}")

    def extents(self, module: Any, sizes: Tensor) -> Tensor:
        return sizes if module.padding == "same" else torch.stack(_after(module, sizes.unbind(1)), 1)

    def after(self, module: Any, own: Sequence[int]) -> Sequence[int]:
        if module.padding == "same":
            return own
        check_fits(module, own, found := _after(module, own))
        return found

    def run(self, module: Any, images: Ragged) -> Ragged:
        """Images whose windows begin where they would begin in each alone, far enough from one another that none sees another's sites."""
        axes = images.sizes.shape[1]
        stride = _each(module.stride, axes)[-1]
        gap = (_spans(module, axes)[-1] + 1) // 2 if module.padding == "same" else _each(module.padding, axes)[-1]
        after = self.extents(module, images.sizes)
        spaced = images.spaced((stride * after[:, -1]).tolist(), gap, stride, self.border)
        sheets = [
            Sheet(module(x), places, starts and [start // stride for start in starts], zero=False)
            for x, places, starts, _ in spaced.sheets
        ]
        return Ragged(sheets, after)


class AveragePoolRule(WindowRule):
    """Zeros over the border are counted."""

    def check(self, module: Any) -> None:
        _check_windows(module)
        if any(_each(module.padding, 1)) and not module.count_include_pad:
            raise ValueError(f"expected a pooling that counts its padding, or has none, got {module}")


class MaxPoolRule(WindowRule):
    """What is over the border is less than anything."""

    border = -math.inf

    def check(self, module: Any) -> None:
        _check_windows(module)
        if module.return_indices:
            raise ValueError(f"expected a pooling with return_indices=False, got {module}")

    def after(self, module: Any, own: Sequence[int]) -> Sequence[int]:
        _check_seen(module, own)
        return super().after(module, own)

    def run(self, module: Any, images: Ragged) -> Ragged:
        _check_seen(module, images.sizes.amin(0).tolist())
        return super().run(module, images)


class BatchNormRule(Rule):
    """Statistics over the sites of all images."""

    def dense(self, module: Any, x: Tensor) -> Tensor:
        if _of_batch(module):
            _check_sites(module, [x])
        return super().dense(module, x)

    def run(self, module: Any, images: Ragged) -> Ragged:
        if not _of_batch(module):
            return images.each(module)
        images = images.tight()
        _check_sites(module, [sheet.x for sheet in images.sheets])
        if len(images.sheets) == 1:
            return images.each(module)
        last = [sheet.x.movedim(1, -1) for sheet in images.sheets]
        sites = torch.cat([x.flatten(0, -2) for x in last])  # (sites, C)
        row = sites.view(*[1] * images.sizes.shape[1], *sites.shape).movedim(-1, 1)  # (1, C, 1, .., sites)
        normal = module(row).movedim(1, -1).flatten(0, -2)
        # Parts that an activation may overwrite: nobody else reads them.
        own = torch.unsafe_split_with_sizes(normal, [x.shape[:-1].numel() for x in last])
        parts = [n.view(x.shape).movedim(-1, 1) for n, x in zip(own, last, strict=True)]
        sheets = [Sheet(x, s.places, s.starts, s.zero) for x, s in zip(parts, images.sheets, strict=True)]
        return Ragged(sheets, images.sizes)


class ChannelDropoutRule(Rule):
    """Channels are dropped of each image by itself."""

    def run(self, module: Any, images: Ragged) -> Ragged:
        return (images.batches(zero=False) if module.training else images).each(module, zero=True)


class RecurrentRule(Rule):
    """The layer knows sizes itself."""

    def axes(self, module: Any) -> int | None:
        axes: int = module.spatial_dims
        return axes

    def check(self, module: Any) -> None:
        if module.channels_last:
            raise ValueError(f"expected a SpatialLSTM with channels_last=False, got {module}")

    def dense(self, module: Any, x: Tensor) -> Tensor:
        output: Tensor = module(x)[0]
        return output

    def run(self, module: Any, images: Ragged) -> Ragged:
        batches = images.batches(zero=False)
        sheets = [Sheet(module(s.x, sizes=images.sizes[s.places])[0], s.places) for s in batches.sheets]
        return Ragged(sheets, images.sizes)


class OwnRule(Rule):
    """A :class:`SizedModule` says everything itself."""

    def extents(self, module: Any, sizes: Tensor) -> Tensor:
        output: Tensor = module.extents(sizes)
        return output

    def after(self, module: Any, own: Sequence[int]) -> Sequence[int]:
        sizes = self.extents(module, torch.tensor([own], device="cpu"))
        found: list[int] = module.known(sizes, f"sizes after {module}")[0]
        check_fits(module, own, found)
        return found

    def dense(self, module: Any, x: Tensor) -> Tensor:
        own = x.shape[2:]
        y = module(x, torch.tensor(own, device="cpu").repeat(x.shape[0], 1))[0]
        return cropped(y.movedim(1, -1), self.after(module, own)).movedim(-1, 1)

    def run(self, module: Any, images: Ragged) -> Ragged:
        batches = images.batches(zero=True)
        sheets = [Sheet(module(s.x, images.sizes[s.places])[0], s.places) for s in batches.sheets]
        return Ragged(sheets, self.extents(module, images.sizes))


_OF_ZERO_ZERO: tuple[type[nn.Module], ...] = (
    *(nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Hardswish, nn.Tanh, nn.Softsign, nn.Softshrink, nn.Dropout),
)
_SITE_BY_SITE: tuple[type[nn.Module], ...] = (nn.Hardtanh, nn.Sigmoid, nn.Hardsigmoid, nn.Softplus, nn.AlphaDropout)
RULES: dict[type[nn.Module], Rule] = {
    SizedModule: OwnRule(),
    SpatialLSTM: RecurrentRule(),
    **{kind: WindowRule(axes) for axes, kind in enumerate((nn.Conv1d, nn.Conv2d, nn.Conv3d), 1)},
    **{kind: MaxPoolRule(axes) for axes, kind in enumerate((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), 1)},
    **{kind: AveragePoolRule(axes) for axes, kind in enumerate((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), 1)},
    **{kind: BatchNormRule(axes) for axes, kind in enumerate((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), 1)},
    **{kind: ChannelDropoutRule(axes) for axes, kind in enumerate((nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), 1)},
    **{kind: Rule(keeps_zero=True) for kind in _OF_ZERO_ZERO},
    **{kind: Rule() for kind in _SITE_BY_SITE},
}


def rule_of(module: nn.Module) -> Rule:
    """The rule of a layer, or of the class that it is derived from.

    Raises:
        TypeError: If there is none.
        ValueError: If the layer has options under which images would see their padding.
    """
    for kind in type(module).__mro__:
        if kind in RULES:
            RULES[kind].check(module)
            return RULES[kind]
    raise TypeError(
        f"expected layers whose way with padding is known, {', '.join(kind.__name__ for kind in RULES)}, got {module}"
    )


def _of_batch(module: Any) -> bool:
    """Whether a batch normalization takes statistics of what it normalizes."""
    return module.training or module.running_mean is None


def _check_sites(module: Any, tensors: Sequence[Tensor]) -> None:
    """Refuse to take statistics of one site, which has no variance."""
    if sum(x.shape[0] * x.shape[2:].numel() for x in tensors) == 1:
        raise ValueError(f"expected more than one site in the batch, for {module} to take statistics of, got 1")


def check_fits(module: nn.Module, extents: Sequence[int], after: Sequence[int], image: int = 0) -> None:
    """Refuse an image of which a layer leaves nothing."""
    if any(extent < 1 for extent in after):
        found = " x ".join(map(str, extents))
        raise ValueError(f"expected images no smaller than the window of {module}, got {found} sites in image {image}")


def _check_seen(module: Any, least: Sequence[int]) -> None:
    """Refuse images of which a padded window may see no site, for which PyTorch's backward writes somewhere else."""
    axes = len(least)
    dilation = _each(module.dilation, axes)
    if any(_each(module.padding, axes)) and any(s < d for s, d in zip(least, dilation, strict=True)):
        raise ValueError(
            f"expected images no smaller than the dilation of {module}, which has padding, got {list(least)}"
        )


def _after(module: Any, own: Sequence[Extent]) -> list[Extent]:
    """floor((s + 2p - d (k - 1) - 1) / stride) + 1 of the extent on every axis."""
    axes = len(own)
    options = zip(own, _each(module.padding, axes), _spans(module, axes), _each(module.stride, axes), strict=True)
    return [(s + (2 * p - span - 1)) // stride + 1 for s, p, span, stride in options]


def _each(option: Any, axes: int) -> list[int]:
    """A window's option for every axis."""
    return [0] * axes if option == "valid" else list(option) if isinstance(option, (tuple, list)) else [option] * axes


def _spans(module: Any, axes: int) -> list[int]:
    """From the first site of a window to its last, on every axis."""
    kernel, dilation = _each(module.kernel_size, axes), _each(getattr(module, "dilation", 1), axes)
    return [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]


def _check_windows(module: Any) -> None:
    if module.ceil_mode:
        raise ValueError(f"expected a pooling with ceil_mode=False, whose windows lie in the image, got {module}")
