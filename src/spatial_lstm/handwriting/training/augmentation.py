"""Lines as the same hand might have written them another time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

# Pixels between the points at which a warp is drawn; between them it is smooth.
KNOTS = 16
FRACTIONS = ("width", "height", "stroke", "ink")


@dataclass(frozen=True)
class Augmentation:
    """Slants, stretches, shifts and warps lines, with a broader or finer pen and more or less ink; each by a random amount.

    Amounts are drawn evenly up to the one given, to either side. The last three are off unless they are asked for: in a short training they
    cost more than they bring, but for strings of a few digits.

    Attributes:
        slant: Pixels to the right for each pixel upward.
        width: Fraction of the width.
        height: Fraction of the height, about the middle row; the picture stays as high as it is.
        shift: Pixels along both axes.
        warp: Pixels along both axes, another amount every 16 pixels and smooth between.
        stroke: Fraction of the way to strokes that are a pixel broader or finer on each side.
        ink: Fraction of the darkness.

    Raises:
        ValueError: If a value is out of range.
    """

    slant: float = 0.25
    width: float = 0.12
    height: float = 0.08
    shift: float = 2.0
    warp: float = 0.0
    stroke: float = 0.0
    ink: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            most = 1.0 if name in FRACTIONS else float("inf")
            if not 0 <= value < most:
                raise ValueError(f"expected {name} from 0 to below {most}, got {value}")

    @classmethod
    def recorded(cls, settings: Mapping[str, float]) -> Augmentation:
        """Return the one with these settings; a kind of change that a run's record does not know was not made."""
        return cls(**{**dict.fromkeys((field.name for field in fields(cls)), 0.0), **settings})

    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        """Return a changed line, ``(1, H, W)`` to ``(1, H, another W)``; what comes in from outside is paper, 0."""
        return self._redrawn(self._moved(image, random), random)

    def _moved(self, image: Tensor, random: np.random.Generator) -> Tensor:
        amounts = (self.slant, self.width, self.height, self.shift, self.shift)
        slant, width, height, right, down = random.uniform(-1, 1, 5) * amounts
        rows, columns = image.shape[1:]
        wide = max(1, round(columns * (1 + width) + abs(slant) * rows))
        y = torch.arange(rows, device=image.device) - (rows - 1) / 2
        x = torch.arange(wide, device=image.device) - (wide - 1) / 2
        warp = self._warp(rows, wide, random)
        source_x = (x - right + slant * y[:, None]) / (1 + width) + warp[0]  # (H, W)
        source_y = ((y - down) / (1 + height))[:, None] + warp[1]
        # From pixels about the middle to -1 .. 1 from the first pixel to the last.
        extents = torch.tensor([max(1, columns - 1), max(1, rows - 1)], device=image.device)
        grid = torch.stack([source_x, source_y], dim=2) * 2 / extents
        return functional.grid_sample(image[None], grid[None].to(image.dtype), align_corners=True)[0]

    def _warp(self, rows: int, columns: int, random: np.random.Generator) -> Tensor:
        """How far each pixel is moved along x and y, ``(2, H, W)``."""
        knots = (2, 2 + rows // KNOTS, 2 + columns // KNOTS)
        drawn = torch.from_numpy(random.uniform(-self.warp, self.warp, knots).astype(np.float32))
        return functional.interpolate(drawn[None], (rows, columns), mode="bicubic", align_corners=True)[0]

    def _redrawn(self, image: Tensor, random: np.random.Generator) -> Tensor:
        stroke, ink = random.uniform(-1, 1, 2) * (self.stroke, self.ink)
        sign = 1 if stroke > 0 else -1
        spread = sign * functional.max_pool2d(sign * image, 3, stride=1, padding=1)
        drawn: Tensor = torch.lerp(image, spread, abs(stroke)) * (1 + ink)
        return drawn.clamp(0, 1)
