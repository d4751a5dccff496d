"""What the training loop has to know: the loss of a batch, the score, and the network as a checkpoint holds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from examples.digits.data import Digits, DistortedBatches, Labeled
from examples.digits.network import DigitClassifier
from spatial_lstm.training import Checkpoint, Stage, Task

BATCH = 64
# Both found by trying; the rate rises over the first fifth of the steps.
RATE, FINAL_RATE, RISE = 1e-2, 1e-4, 5


class DigitsTask(Task[Stage, Labeled]):
    """A network and the digits.

    Args:
        digits: The data.
        seed: Of the initial weights; in checkpoints, that of the data's division too.
    """

    model: DigitClassifier
    stage_type = Stage
    score = "log-likelihood of a digit's class, nats"

    def __init__(self, digits: Digits, seed: int = 0) -> None:
        self.digits = digits
        self.seed = seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = DigitClassifier()

    @classmethod
    def restore(cls, checkpoint: Checkpoint, digits: Digits) -> DigitsTask:
        """Return the task that a run was begun with.

        Raises:
            ValueError: If it was another.
        """
        if checkpoint.model.get("kind") != DigitClassifier.__name__:
            raise ValueError(f"expected a run on the digits, got one of {checkpoint.model.get('kind')}")
        task = cls(digits, checkpoint.task["seed"])
        task.load(checkpoint.model)
        return task

    def schedule(self, epochs: int) -> list[Stage]:
        """One stage of Adam."""
        steps = epochs * self.batches_of(0).per_epoch
        stage = Stage(
            optimizer="adam", rate=RATE, final_rate=FINAL_RATE, batch=BATCH, steps=steps, warmup=steps // RISE
        )
        return [stage]

    def batches_of(self, *seed: int) -> DistortedBatches:
        """Return the training digits in batches."""
        return DistortedBatches(self.digits.train, BATCH, list(seed))

    def batches(self, stage: Stage, seed: Sequence[int]) -> DistortedBatches:
        return self.batches_of(*seed)

    def loss(self, batch: Labeled) -> Tensor:
        return functional.cross_entropy(self.model(batch.images), batch.labels)

    @torch.inference_mode()
    def evaluate(self) -> float:
        return -float(self.loss(self.digits.validation))

    def score_of(self, loss: float) -> float:
        return -loss

    def describe(self) -> dict[str, Any]:
        state = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
        return {"kind": DigitClassifier.__name__, "state": state}

    def load(self, description: dict[str, Any]) -> None:
        self.model.load_state_dict(description["state"])

    def settings(self) -> dict[str, Any]:
        return {"seed": self.seed}

    def accuracy(self, examples: Labeled) -> float:
        """The share of digits that are recognized."""
        return float((self.probabilities(examples).argmax(1) == examples.labels).float().mean())

    @torch.inference_mode()
    def probabilities(self, examples: Labeled) -> Tensor:
        """Of the classes, ``(N, 10)``."""
        probabilities: Tensor = self.model(examples.images).softmax(1)
        return probabilities
