"""Which patches a step sees: a function of the seed and the step alone, so that a resumed run sees what an uninterrupted one would."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatial_lstm.image_models.data import tiles, turned


class PatchBatches:
    """Shuffled batches of the non-overlapping tiles of images, cut at a new offset in every epoch.

    Offsets are even. JPEG keeps color by pairs of columns, often of rows, too, and these show in the gray of a photograph. Tiles that are
    scored begin with a pair: a model that has been trained for an epoch on patches that begin within one expects that, and on the
    photographs of BSDS300 loses 0.025 bits a pixel by it.

    Args:
        images: ``(C, H, W)`` each; images smaller than a patch are left out, with a warning.
        patch: Side of a patch.
        batch: Patches in a batch; what is left over at the end of an epoch is dropped.
        seed: Of offsets and order.
        mirror: Whether the tiles' left-right mirror images are among them.
        symmetries: Whether all eight flips and transposes of the tiles are, whatever ``mirror`` is.

    Attributes:
        per_epoch: Batches in an epoch (of the least offset, epochs may differ by what fits).

    Raises:
        ValueError: If no image is as large as a patch.
    """

    def __init__(
        self,
        images: Sequence[Tensor],
        patch: int,
        batch: int,
        *,
        seed: Sequence[int],
        mirror: bool = True,
        symmetries: bool = False,
    ) -> None:
        self.images = large_enough(images, patch)
        self.patch = patch
        self.batch = batch
        self.seed = list(seed)
        slack = (
            [min(extent % patch for extent in (image.shape[k] for image in self.images)) for k in (1, 2)]
            if self.images
            else [0, 0]
        )
        self.slack = slack
        self.views = 8 if symmetries else 2 if mirror else 1
        count = self.views * len(tiles(self.images or images, patch))
        self.per_epoch = max(1, count // batch)
        self._epoch = -1
        self._patches = torch.empty(0, device="cpu")
        self._order: NDArray[np.int64] = np.empty(0, np.int64)

    def __getitem__(self, step: int) -> Tensor:
        """The batch of step 0, 1, ..: ``(batch, C, patch, patch)``, fewer where there are fewer patches."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._prepare(epoch)
        chosen = torch.from_numpy(self._order[place * self.batch : (place + 1) * self.batch])
        count = len(self._patches)
        return turned(self._patches[chosen % count], chosen // count)

    def _prepare(self, epoch: int) -> None:
        random = np.random.default_rng([*self.seed, epoch])
        offset = tuple(2 * int(random.integers(slack // 2 + 1)) for slack in self.slack)
        self._patches = tiles(self.images, self.patch, (offset[0], offset[1]))
        self._order = random.permutation(self.views * len(self._patches))
        self._epoch = epoch


def large_enough(images: Sequence[Tensor], side: int) -> list[Tensor]:
    """The images ``(C, H, W)`` of at least so many rows and columns; a warning says how many others there are, unless all are others."""
    found = [image for image in images if min(image.shape[1:]) >= side]
    if 0 < len(found) < len(images):
        warnings.warn(
            f"{len(images) - len(found)} of {len(images)} images left out, which are smaller than {side}x{side}",
            stacklevel=3,
        )
    return found


def common_side(images: Sequence[Tensor]) -> int:
    """How many rows and columns at least half of the images ``(C, H, W)`` have; 1 of none."""
    return statistics.median_low([min(image.shape[1:]) for image in images]) if images else 1
