"""Lines as the same hand might have written them another time."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """Slants, stretches and shifts lines; each by a random amount up to the one given, to either side.

    Attributes:
        slant: Pixels to the right for each pixel upward.
        width: Fraction of the width.
        height: Fraction of the height, about the middle row; the picture stays as high as it is.
        shift: Pixels along both axes.

    Raises:
        ValueError: If a value is out of range.
    """

    slant: float = 0.25
    width: float = 0.12
    height: float = 0.08
    shift: float = 2.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            most = 1.0 if name in ("width", "height") else float("inf")
            if not 0 <= value < most:
                raise ValueError(f"expected {name} from 0 to below {most}, got {value}")

    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        """Return a changed line, ``(1, H, W)`` to ``(1, H, another W)``; what comes in from outside is paper, 0."""
        slant, width, height, right, down = random.uniform(-1, 1, 5) * [
            self.slant,
            self.width,
            self.height,
            self.shift,
            self.shift,
        ]
        rows, columns = image.shape[1:]
        wide = max(1, round(columns * (1 + width) + abs(slant) * rows))
        y = torch.arange(rows) - (rows - 1) / 2
        x = torch.arange(wide) - (wide - 1) / 2
        source_x = (x - right + slant * y[:, None]) / (1 + width)  # (H, W)
        source_y = ((y - down) / (1 + height))[:, None].expand_as(source_x)
        # From pixels about the middle to -1 .. 1 from the first pixel to the last.
        grid = torch.stack([source_x / max(1, columns - 1), source_y / max(1, rows - 1)], dim=2) * 2
        return functional.grid_sample(image[None], grid[None].to(image.dtype), align_corners=True)[0]
