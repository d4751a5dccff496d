"""Going through an image pixel by pixel, as drawing must."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spatial_lstm.image_models.base import Progress
from spatial_lstm.image_models.pixelrnn.network import PixelNetwork
from spatial_lstm.image_models.precision import wide


class RasterScan:
    """One pass over images in raster order, in which the pixels of a hole are drawn and the others kept.

    A pixel depends on the whole row above, so rows can't overlap: H W steps, each of all images at once. The work of a step does not grow
    with the image; what has been computed for earlier pixels is kept.

    Args:
        network: What weighs their levels.
        values: ``(N, C, H, W)``, levels from 0 on; those in the hole may be any.
    """

    def __init__(self, network: PixelNetwork, values: Tensor) -> None:
        self._network = network
        self._values = values.clone()
        first = network.first
        # What lies outside is zero for the network, which sees levels from -1 to 1.
        self._seen = functional.pad(network.scale(self._values), (first.radius, first.radius, first.rows, 0))
        self._readers = [block.reader(len(values), values.shape[3]) for block in network.recurrent_blocks()]
        self.density = wide(torch.empty_like(values))
        """Log p of every channel of every pixel as it came out, in nats."""

    def run(
        self, hole: Tensor, *, generator: torch.Generator | None = None, progress: Progress | None = None
    ) -> Tensor:
        """Return the levels ``(N, C, H, W)``, those in the bool ``hole``, ``(N, 1, H, W)``, drawn from the network."""
        height, width = self._values.shape[2:]
        drawn = hole.flatten(2).any(0).flatten().tolist()
        for row in range(height):
            for column in range(width):
                place = row * width + column
                self._pixel(row, column, hole[:, 0, row, column] if drawn[place] else None, generator)
                if progress:
                    progress(place + 1, height * width)
            for reader in self._readers:
                reader.end_row()
        return self._values

    def _pixel(self, row: int, column: int, hole: Tensor | None, generator: torch.Generator | None) -> None:
        """Draw and score a pixel, color by color: each depends on those before."""
        network, first = self._network, self._network.first
        for color in range(network.channels):
            window = self._seen[:, :, row : row + first.rows + 1, column : column + 2 * first.radius + 1]
            features = first.windows(window)  # (N, F, 1, 1)
            for block, reader in zip(network.recurrent_blocks(), self._readers, strict=True):
                hidden = reader.step(features[:, :, 0, 0], column)
                features = block.merge(features, hidden[:, :, None, None])
            outputs = network.read(features)
            value = self._values[:, color, row, column]
            if hole is not None:
                weights = network.logits(outputs)[:, color, :, 0, 0].softmax(1)
                chosen = torch.multinomial(weights, 1, generator=generator).squeeze(1)
                value = torch.where(hole, chosen.to(value), value)
                self._values[:, color, row, column] = value
                self._seen[:, color, row + first.rows, column + first.radius] = network.scale(value)
            scored = network.score(outputs, self._values[:, :, row : row + 1, column : column + 1])
            self.density[:, color, row, column] = scored[:, color, 0, 0]
