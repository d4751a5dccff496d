"""Data, training and checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spatial_lstm.digits.network import DigitClassifier
from spatial_lstm.training.files import read, save

BATCH = 64
PEAK_RATE = 1e-2
TURN, SCALE, SHIFT = 0.25, 0.15, 0.25  # the largest distortions: radians, relative, and in half images


@dataclass(frozen=True)
class Digits:
    """Images ``(N, 1, 8, 8)`` from 0 to 1 and their classes ``(N,)``, to learn from and held out."""

    images: Tensor
    labels: Tensor
    held_out_images: Tensor
    held_out_labels: Tensor


def load_digits(seed: int = 0) -> Digits:
    """Scikit-learn's 1,797 digits, a quarter of every class held out."""
    from sklearn import datasets, model_selection

    data = datasets.load_digits()
    images = torch.from_numpy(data.images).float().unsqueeze(1) / 16
    labels = torch.from_numpy(data.target).long()
    learned, held_out = model_selection.train_test_split(
        range(len(labels)), test_size=0.25, random_state=seed, stratify=data.target
    )
    return Digits(images[learned], labels[learned], images[held_out], labels[held_out])


def distort(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn, scale and shift each image ``(N, 1, H, W)`` a little, at random."""
    turn, scale, *shift = (torch.rand((4, len(images)), generator=generator) * 2 - 1).unbind()
    size = 1 + SCALE * scale
    cos, sin = size * (TURN * turn).cos(), size * (TURN * turn).sin()
    matrices = torch.stack([cos, -sin, SHIFT * shift[0], sin, cos, SHIFT * shift[1]], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


@dataclass
class Run:
    """A training run, which :meth:`save` and :meth:`load` interrupt and continue without a trace.

    Attributes:
        epochs: How many there are in all.
        seed: Of the initial weights, the order of the images and the split.
        digits: The data.
        network: What is trained.
        history: Per finished epoch, the mean loss and the held-out accuracy.
    """

    epochs: int
    seed: int
    digits: Digits
    network: DigitClassifier = field(init=False)
    history: list[tuple[float, float]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network = DigitClassifier()
        self._generator = torch.Generator().manual_seed(self.seed)
        self._optimizer = torch.optim.Adam(self.network.parameters())
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, PEAK_RATE, total_steps=self.epochs * self.batches
        )

    @property
    def batches(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.digits.labels) // BATCH)

    def epoch(self, progress: Any) -> None:
        """Go through all images once; ``progress`` is a tqdm bar that counts batches."""
        self.network.train()
        losses = []
        for batch in torch.randperm(len(self.digits.labels), generator=self._generator).split(BATCH):
            images = distort(self.digits.images[batch], self._generator)
            loss = functional.cross_entropy(self.network(images), self.digits.labels[batch])
            self._optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self._optimizer.step()
            self._schedule.step()
            losses.append(loss.item())
            progress.update()
        self.history.append((sum(losses) / len(losses), self.accuracy()))
        progress.set_postfix(loss=f"{self.history[-1][0]:.3f}", held_out=f"{self.history[-1][1]:.1%}")

    def probabilities(self) -> Tensor:
        """Of the classes for the held-out images, ``(N, 10)``."""
        self.network.eval()
        with torch.inference_mode():
            probabilities: Tensor = self.network(self.digits.held_out_images).softmax(1)
        return probabilities

    def accuracy(self) -> float:
        """Share of held-out digits that are recognised."""
        return float((self.probabilities().argmax(1) == self.digits.held_out_labels).float().mean())

    def save(self, path: Path) -> None:
        """Write everything that :meth:`load` needs, atomically."""
        content = {
            "epochs": self.epochs,
            "seed": self.seed,
            "history": self.history,
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "generator": self._generator.get_state(),
        }
        save(path, content)

    @classmethod
    def load(cls, path: Path) -> Run:
        """Continue where :meth:`save` was called.

        Raises:
            ValueError: If the file is not a checkpoint of this training.
        """
        content = read(path)
        try:
            run = cls(content["epochs"], content["seed"], load_digits(content["seed"]))
            run.network.load_state_dict(content["network"])
            run._optimizer.load_state_dict(content["optimizer"])
            run._schedule.load_state_dict(content["schedule"])
            run._generator.set_state(content["generator"])
            run.history = [(loss, accuracy) for loss, accuracy in content["history"]]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"expected a checkpoint of the digits in {path}, got something else: {error}") from error
        return run
