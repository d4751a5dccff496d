"""The digits, and how they are varied."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

# The largest distortions: in radians, relative, and in half images. A digit stays what it is.
TURN, SCALE, SHIFT = 0.25, 0.15, 0.25


@dataclass(frozen=True)
class Labeled:
    """Images ``(N, 1, H, W)`` from 0 to 1 and their classes ``(N,)``."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, which: slice | Tensor) -> Labeled:
        return Labeled(self.images[which], self.labels[which])

    def to(self, device: torch.device) -> Labeled:
        """The same on a device."""
        return Labeled(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Digits:
    """What is learned, what the best weights are chosen by, and what the result is told on."""

    train: Labeled
    validation: Labeled
    test: Labeled


def load_digits(seed: int = 0) -> Digits:
    """Scikit-learn's 1,797 digits: a quarter of every class for the test, a tenth or so for validation."""
    from sklearn import datasets, model_selection

    data = datasets.load_digits()
    images = torch.from_numpy(data.images).float().unsqueeze(1) / 16
    whole = Labeled(images, torch.from_numpy(data.target).long())
    options = {"random_state": seed, "stratify": data.target}
    rest, test = model_selection.train_test_split(np.arange(len(whole)), test_size=1 / 4, **options)
    options["stratify"] = data.target[rest]
    train, validation = model_selection.train_test_split(rest, test_size=1 / 8, **options)
    return Digits(*(whole[torch.from_numpy(np.sort(part))] for part in (train, validation, test)))


class DistortedBatches:
    """Shuffled batches, each image turned, scaled and shifted a little; functions of the seed and the step alone.

    Args:
        examples: What there is.
        batch: Examples of a batch.
        seed: Of order and distortions.
    """

    def __init__(self, examples: Labeled, batch: int, seed: list[int]) -> None:
        self._examples = examples
        self._batch = batch
        self._seed = seed
        self.per_epoch = -(-len(examples) // batch)

    def __getitem__(self, step: int) -> Labeled:
        epoch, place = divmod(step, self.per_epoch)
        order = np.random.default_rng([*self._seed, 0, epoch]).permutation(len(self._examples))
        chosen = self._examples[torch.from_numpy(order[place * self._batch : (place + 1) * self._batch])]
        amounts = np.random.default_rng([*self._seed, 1, step]).uniform(-1, 1, (4, len(chosen)))
        return Labeled(distort(chosen.images, torch.from_numpy(amounts).float()), chosen.labels)


def distort(images: Tensor, amounts: Tensor) -> Tensor:
    """Turn, scale and shift images ``(N, 1, H, W)`` by amounts ``(4, N)`` from -1 to 1."""
    turn, scale, *shift = amounts.unbind()
    size = 1 + SCALE * scale
    cos, sin = size * (TURN * turn).cos(), size * (TURN * turn).sin()
    matrices = torch.stack([cos, -sin, SHIFT * shift[0], sin, cos, SHIFT * shift[1]], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)
