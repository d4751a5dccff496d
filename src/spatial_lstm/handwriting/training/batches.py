"""Which lines a step sees: a function of the seed and the step alone, so that a resumed run sees what an uninterrupted one would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatial_lstm.handwriting.codec import Codec
from spatial_lstm.handwriting.data import Lines
from spatial_lstm.handwriting.reader import pixels, stacked
from spatial_lstm.handwriting.training.augmentation import Augmentation

# How far two lines of one width may lie apart in the order by width, so that others meet in every epoch: standard deviation of the
# logarithm of what the width is multiplied by.
MIXED = 0.1


@dataclass(frozen=True)
class LineBatch:
    """Lines and what is written in them.

    Attributes:
        images: ``(N, 1, height, W)``, 0 for paper and up to 1 for ink.
        widths: Of each line, pixels, ``(N,)``, on the CPU.
        targets: Classes of the characters, ``(N, L)``, on the CPU.
        target_lengths: Characters of each line, ``(N,)``, on the CPU.
    """

    images: Tensor
    widths: Tensor
    targets: Tensor
    target_lengths: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, which: slice) -> LineBatch:
        return LineBatch(self.images[which], self.widths[which], self.targets[which], self.target_lengths[which])

    def to(self, device: torch.device) -> LineBatch:
        """The same with the images on a device; the network wants numbers of pixels and characters on the CPU."""
        return LineBatch(self.images.to(device), self.widths, self.targets, self.target_lengths)


class Examples:
    """Lines with their texts as classes and their widths.

    Args:
        lines: With texts.
        codec: Of the texts; characters that it does not have are passed over.
        height: Of the images, pixels.

    Attributes:
        targets: Classes of each line's characters.
        widths: Of each line, pixels.
    """

    def __init__(self, lines: Lines, codec: Codec, height: int) -> None:
        self.lines = lines
        self.height = height
        self.targets = [codec.encode(text, skip_unknown=True) for text in lines.texts()]
        self.widths = np.array([line.image(height).shape[1] for line in lines], dtype=float)

    def __len__(self) -> int:
        return len(self.lines)

    def image(self, place: int) -> Tensor:
        """A line's pixels, ``(1, height, width)``."""
        return pixels(self.lines[place], self.height)


class LineBatches:
    """Shuffled batches of lines of similar width; an epoch has every line once.

    Args:
        examples: The lines.
        batch: Most lines in a batch.
        seed: Of the order and of what is drawn.
        augmentation: What is done to each line; None for nothing.

    Attributes:
        per_epoch: Batches in an epoch.

    Raises:
        ValueError: If there is no line.
    """

    def __init__(
        self, examples: Examples, batch: int, *, seed: Sequence[int], augmentation: Augmentation | None = None
    ) -> None:
        if not len(examples):
            raise ValueError("expected lines to train on, got none")
        self.examples = examples
        self.seed = list(seed)
        self.augmentation = augmentation
        self.per_epoch = -(-len(examples) // batch)
        self._epoch = -1
        self._order: list[NDArray[np.int64]] = []

    def __getitem__(self, step: int) -> LineBatch:
        """The batch of step 0, 1, .."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._order, self._epoch = self.order(epoch), epoch
        lines = self._order[place].tolist()
        images, widths = stacked([self._image(line, epoch) for line in lines])
        targets = [torch.tensor(self.examples.targets[line], dtype=torch.int64, device="cpu") for line in lines]
        padded = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True)
        return LineBatch(images, widths, padded, torch.tensor([len(target) for target in targets], device="cpu"))

    def order(self, epoch: int) -> list[NDArray[np.int64]]:
        """The lines of each batch of an epoch: cut from an order that is roughly that of widths, and shuffled."""
        random = np.random.default_rng([*self.seed, epoch])
        rough = self.examples.widths * np.exp(MIXED * random.standard_normal(len(self.examples)))
        batches = np.array_split(np.argsort(rough), self.per_epoch)
        return [batches[k] for k in random.permutation(len(batches))]

    def _image(self, line: int, epoch: int) -> Tensor:
        image = self.examples.image(line)
        if self.augmentation is None:
            return image
        return self.augmentation(image, np.random.default_rng([*self.seed, epoch, 1 + line]))
