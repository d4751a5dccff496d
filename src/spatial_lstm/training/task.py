"""What the loop needs to know of what is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from spatial_lstm.training.stage import Stage


class Batch(Protocol):
    """Examples that can be shared out among processes and moved to a device; a Tensor is one, its first dimension counts them."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, examples: slice, /) -> Self:
        """Some of them."""

    def to(self, device: torch.device, /) -> Self:
        """The same on a device."""


B = TypeVar("B", bound=Batch)
B_co = TypeVar("B_co", bound=Batch, covariant=True)
S = TypeVar("S", bound=Stage)


class Batches(Protocol[B_co]):
    """The batches of a stage: functions of a seed and of the step alone, so that a resumed run sees what an uninterrupted one would."""

    @property
    def per_epoch(self) -> int:
        """Batches in a pass over the data."""

    def __getitem__(self, step: int, /) -> B_co:
        """The batch of step 0, 1, .."""


class Task(ABC, Generic[S, B]):
    """What is trained, on which data, and how it is scored.

    A subclass gives the loss of a batch, the batches of a stage, the score, and the model as plain values for checkpoints. What happens
    before and after the steps of a stage is nothing unless it says so.

    Attributes:
        model: What is trained; :meth:`before` may put another in its place.
        stage_type: What schedules are made of.
        score: What :meth:`evaluate` returns, in words.
    """

    model: nn.Module
    stage_type: type[S]
    score: str

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(chain(self.model.parameters(), self.model.buffers())).device

    @abstractmethod
    def batches(self, stage: S, seed: Sequence[int]) -> Batches[B]:
        """Return the batches of a stage.

        Raises:
            ValueError: If the data do not suit the stage.
        """

    @abstractmethod
    def loss(self, batch: B) -> Tensor:
        """Return the mean loss of the examples of a batch, a scalar; 0 for a batch of none."""

    @abstractmethod
    def evaluate(self) -> float:
        """Return the score on held-out data; higher is better."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return the model as plain values and tensors, copied to the CPU."""

    @abstractmethod
    def load(self, description: dict[str, Any]) -> None:
        """Give the model the weights that :meth:`describe` returned of one of its kind and size."""

    def settings(self) -> dict[str, Any]:
        """Return what else a checkpoint keeps for making the task again: plain values."""
        return {}

    def score_of(self, loss: float) -> float | None:
        """Return a mean loss on the scale of the score, to be shown beside it; None where there is no such thing."""
        return None

    def words(self, score: float) -> str:
        """Return a score as it is shown to people."""
        return f"{score:.3f}"

    def details(self) -> Mapping[str, float]:
        """Return what else the last :meth:`evaluate` found, for the metrics."""
        return {}

    def begin(self) -> None:
        """Prepare the model before the first step of all; every process does, and then takes the first one's weights."""

    def before(self, stage: S) -> bool:
        """Prepare the model for a stage; return whether it is another one now, so that earlier scores and weights no longer count."""
        return False

    def after(self, stage: S) -> Mapping[str, Callable[[], object]]:
        """Return what follows the steps of a stage, by name; the first process does it, and the others take its weights."""
        return {}
