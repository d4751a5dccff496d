"""A part of a schedule: which optimizer, how long, at which rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, Optimizer

# As in the released code of Theis & Bethge, 2015.
MOMENTUM = 0.9

OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter], float], Optimizer]] = {
    "sgd": lambda parameters, rate: SGD(parameters, rate, momentum=MOMENTUM),
    "adam": lambda parameters, rate: Adam(parameters, rate),
}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One part of a schedule, with an optimizer of its own.

    Attributes:
        optimizer: ``"sgd"`` (momentum 0.9) or ``"adam"``.
        rate: Learning rate at the start, or after the warm-up.
        final_rate: Learning rate at the end, reached linearly.
        batch: Examples a step, over all processes.
        steps: Number of steps; None for as many as ``epochs`` take.
        epochs: Passes over the data.
        warmup: Steps over which the rate rises linearly from near zero; they are part of ``steps``.

    Raises:
        ValueError: If a value is out of range.
    """

    optimizer: str
    rate: float
    final_rate: float
    batch: int
    steps: int | None = None
    epochs: float = 1.0
    warmup: int = 0

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"expected optimizer to be one of {sorted(OPTIMIZERS)}, got {self.optimizer!r}")
        for name in ("rate", "final_rate", "epochs"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"expected a positive {name}, got {getattr(self, name)}")
        for name, least in (("batch", 1), ("steps", 1), ("warmup", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"expected {name} of at least {least}, got {value}")

    def count(self, per_epoch: int) -> int:
        """Steps of this stage, where an epoch takes ``per_epoch``."""
        return self.steps if self.steps is not None else max(1, round(self.epochs * per_epoch))

    def rate_at(self, step: int, steps: int) -> float:
        """Learning rate of step 0 .. ``steps - 1``."""
        rising = min(1.0, (step + 1) / (self.warmup + 1))
        return float(rising * (self.rate + (self.final_rate - self.rate) * step / max(1, steps - 1)))

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Return the stage's optimizer."""
        return OPTIMIZERS[self.optimizer](parameters, self.rate)

    def to_dict(self) -> dict[str, Any]:
        """Return what the class takes to make it again."""
        return asdict(self)
