"""How PyTorch's layers run on a ragged batch: what each makes of the sizes, and what it needs so that padding reaches nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from spatial_lstm.modules.layer import SpatialLSTM
from spatial_lstm.modules.sized.module import SizedModule
from spatial_lstm.modules.sized.padding import cleared, with_padding, without_padding


class Rule:
    """How one kind of layer runs: here one that works site by site.

    Args:
        axes: Spatial axes that the layer works on; None for any number.

    Attributes:
        keeps_zero: Whether the output is zero in the padding where the input was.
        spares_padding: Whether it computes nothing of the padding, and so runs on larger groups of images.
    """

    spares_padding = False

    def __init__(self, axes: int | None = None, *, keeps_zero: bool = False) -> None:
        self._axes = axes
        self.keeps_zero = keeps_zero

    def axes(self, module: Any) -> int | None:
        """Spatial axes that this very layer works on."""
        return self._axes

    def check(self, module: Any) -> None:
        """Refuse options under which an image would see padding."""

    def reads_padding(self, module: Any) -> bool:
        """Whether images see what stands in their padding, which then has to be zero."""
        return False

    def zeroes(self, module: Any) -> bool:
        """Whether the output is zero in the padding whatever came in."""
        return False

    def extents(self, module: Any, sizes: Tensor) -> Tensor:
        """Output sizes of input sizes, both ``(N, n)``."""
        return sizes

    def run(self, module: Any, x: Tensor, sizes: Tensor) -> Tensor:
        """The layer's output, right on every image."""
        output: Tensor = module(x)
        return output

    def run_parts(self, module: Any, parts: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """The same for all parts of a batch, each with its sizes."""
        return [self.run(module, x, sizes) for x, sizes in parts]


class WindowRule(Rule):
    """A convolution: windows over the border see zeros."""

    def check(self, module: Any) -> None:
        if module.padding_mode != "zeros":
            raise ValueError(f"expected a convolution with padding_mode='zeros', got {module}")

    def reads_padding(self, module: Any) -> bool:
        return _pads(module)

    def extents(self, module: Any, sizes: Tensor) -> Tensor:
        """floor((s + 2p - d (k - 1) - 1) / stride) + 1 on every axis; ``padding="same"`` keeps the size."""
        if module.padding == "same":
            return sizes
        axes = sizes.shape[1]
        kernel, stride = _each(module.kernel_size, axes), _each(module.stride, axes)
        padding, dilation = _each(module.padding, axes), _each(getattr(module, "dilation", 1), axes)
        spans = torch.tensor([d * (k - 1) + 1 - 2 * p for d, k, p in zip(dilation, kernel, padding, strict=True)])
        return torch.div(sizes - spans, torch.tensor(stride), rounding_mode="floor") + 1


class AveragePoolRule(WindowRule):
    """Zeros over the border are counted."""

    def check(self, module: Any) -> None:
        _check_windows(module)
        if _pads(module) and not module.count_include_pad:
            raise ValueError(f"expected a pooling that counts its padding, or has none, got {module}")


class MaxPoolRule(WindowRule):
    """What is over the border is less than anything."""

    def check(self, module: Any) -> None:
        _check_windows(module)
        if module.return_indices:
            raise ValueError(f"expected a pooling with return_indices=False, got {module}")

    def reads_padding(self, module: Any) -> bool:
        return False

    def run(self, module: Any, x: Tensor, sizes: Tensor) -> Tensor:
        if not _pads(module):
            return super().run(module, x, sizes)
        # A layer that reads no padding multiplies it all the same: what it gets has to be finite.
        return cleared(module(cleared(x, sizes, -math.inf)), self.extents(module, sizes))


class BatchNormRule(Rule):
    """Statistics over the sites of all images: the layer sees these in a row."""

    def zeroes(self, module: Any) -> bool:
        return bool(module.training or module.running_mean is None)

    def run_parts(self, module: Any, parts: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        images = [without_padding(x, sizes) for x, sizes in parts] if self.zeroes(module) else []
        rows = [image.transpose(0, 1).flatten(1) for image in chain(*images)]  # (C, sites) each
        if len(rows) < 2:
            return super().run_parts(module, parts)
        row = torch.cat(rows, dim=1)
        normal = module(row.view(1, *row.shape, *[1] * (parts[0][0].ndim - 3))).view(row.shape)
        own = iter(normal.split([sites.shape[1] for sites in rows], dim=1))
        return [
            with_padding([next(own).unflatten(1, (len(i), *i.shape[2:])).transpose(0, 1) for i in part], x.shape[2:])
            for part, (x, _) in zip(images, parts, strict=True)
        ]


class RecurrentRule(Rule):
    """The layer knows sizes itself."""

    spares_padding = True

    def zeroes(self, module: Any) -> bool:
        return True

    def axes(self, module: Any) -> int | None:
        axes: int = module.spatial_dims
        return axes

    def check(self, module: Any) -> None:
        if module.channels_last:
            raise ValueError(f"expected a SpatialLSTM with channels_last=False, got {module}")

    def run(self, module: Any, x: Tensor, sizes: Tensor) -> Tensor:
        output: Tensor = module(x, sizes=sizes)[0]
        return output


class OwnRule(Rule):
    """A :class:`SizedModule` says everything itself."""

    spares_padding = True

    def zeroes(self, module: Any) -> bool:
        return True

    def reads_padding(self, module: Any) -> bool:
        return True

    def extents(self, module: Any, sizes: Tensor) -> Tensor:
        output: Tensor = module.extents(sizes)
        return output

    def run(self, module: Any, x: Tensor, sizes: Tensor) -> Tensor:
        output: Tensor = module(x, sizes)[0]
        return output


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
    **{kind: Rule(axes, keeps_zero=True) for axes, kind in enumerate((nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), 1)},
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


def _each(option: Any, axes: int) -> list[int]:
    """A window's option for every axis."""
    return [0] * axes if option == "valid" else list(option) if isinstance(option, (tuple, list)) else [option] * axes


def _pads(module: Any) -> bool:
    """Whether windows may reach over the border."""
    return module.padding == "same" or any(_each(module.padding, 1))


def _check_windows(module: Any) -> None:
    if module.ceil_mode:
        raise ValueError(f"expected a pooling with ceil_mode=False, whose windows lie in the image, got {module}")
