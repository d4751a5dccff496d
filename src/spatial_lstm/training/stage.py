"""A part of a schedule: which optimizer, how long, at which rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

# As in the released code of Theis & Bethge, 2015.
MOMENTUM = 0.9
# Of a stage's time, which its warm-up takes at most.
RISE = 0.1

OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter], float], Optimizer]] = {
    "sgd": lambda parameters, rate: SGD(parameters, rate, momentum=MOMENTUM),
    "adam": lambda parameters, rate: Adam(parameters, rate),
    "adamw": lambda parameters, rate: AdamW(parameters, rate),
}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One part of a schedule, with an optimizer of its own.

    Attributes:
        optimizer: ``"sgd"`` (momentum 0.9), ``"adam"`` or ``"adamw"`` (weight decay 0.01).
        rate: Learning rate at the start, or after the warm-up.
        final_rate: Learning rate at the end, reached linearly.
        batch: Examples a step, over all processes.
        steps: Number of steps; None for as many as ``epochs`` take.
        epochs: Passes over the data.
        minutes: How long the stage takes instead, on a clock that does not stand still for evaluation and checkpoints; the rate then
            follows the time that is gone. It ends in time for a last evaluation as long as the one before.
        warmup: Steps over which the rate rises linearly from near zero, part of the stage's; by the clock, at most a tenth of its time.
        flat: Fraction of the stage after which the rate begins to fall, from 0 to below 1.

    Raises:
        ValueError: If a value is out of range, or ``steps`` and ``minutes`` are both given.
    """

    optimizer: str
    rate: float
    final_rate: float
    batch: int
    steps: int | None = None
    epochs: float = 1.0
    minutes: float | None = None
    warmup: int = 0
    flat: float = 0.0

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"expected optimizer to be one of {sorted(OPTIMIZERS)}, got {self.optimizer!r}")
        for name in ("rate", "final_rate", "epochs", "minutes"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"expected a positive {name}, got {value}")
        if self.steps is not None and self.minutes is not None:
            raise ValueError(f"expected steps or minutes, got {self.steps} steps and {self.minutes} minutes")
        for name, least in (("batch", 1), ("steps", 1), ("warmup", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"expected {name} of at least {least}, got {value}")

        if not 0 <= self.flat < 1:
            raise ValueError(f"expected flat from 0 to below 1, got {self.flat}")

    def count(self, per_epoch: int) -> int:
        """Steps of a stage that is not by the clock, where an epoch takes ``per_epoch``."""
        return self.steps if self.steps is not None else max(1, round(self.epochs * per_epoch))

    def rate_at(self, step: int, gone: float) -> float:
        """Learning rate of step 0, 1, .. where a fraction of the stage, 0 to 1, is gone."""
        risen = (step + 1) / (self.warmup + 1)
        if self.minutes is not None:
            risen = max(risen, gone / RISE)
        fallen = min(1.0, max(0.0, gone - self.flat) / (1 - self.flat))
        return float(min(1.0, risen) * (self.rate + (self.final_rate - self.rate) * fallen))

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Return the stage's optimizer."""
        return OPTIMIZERS[self.optimizer](parameters, self.rate)

    def to_dict(self) -> dict[str, Any]:
        """Return what the class takes to make it again."""
        return asdict(self)
