"""What is trained how long at which rate: the staged schedule of Theis & Bethge, 2015, and a schedule for Adam."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

PATCHES = (8, 10, 12, 14, 16, 18, 20, 22)
RATES = (1.0, 0.5, 0.1, 0.05, 0.01, 0.005, 0.001, 0.0005)
OPTIMISERS = ("sgd", "adam")
WARMUP = 300


@dataclass(frozen=True)
class Stage:
    """One part of a schedule, with an optimiser of its own.

    Attributes:
        optimiser: ``"sgd"`` (momentum 0.9) or ``"adam"``.
        patch: Side of the training patches, in pixels.
        rate: Learning rate at the start, or after the warm-up.
        final_rate: Learning rate at the end, reached linearly.
        batch: Patches a step, over all processes.
        steps: Number of steps; None for as many as ``epochs`` take.
        epochs: Passes over all patches and their mirror images.
        finetune: L-BFGS iterations on the conditional density alone, after the steps.
        layers: Layers the model gets before the stage, those it has being kept; None for those it has.
        warmup: Steps over which the rate rises linearly from near zero; they are part of ``steps``.
    """

    optimiser: str
    patch: int
    rate: float
    final_rate: float
    batch: int = 50
    steps: int | None = None
    epochs: float = 1.0
    finetune: int = 0
    layers: int | None = None
    warmup: int = 0

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise ValueError(f"expected optimiser 'sgd' or 'adam', got {self.optimiser!r}")
        if min(self.patch, self.batch) < 1 or min(self.rate, self.final_rate, self.epochs) <= 0 or self.finetune < 0:
            raise ValueError(f"expected a positive patch, batch, rate and length, got {self}")
        if self.steps is not None and self.steps < 0:
            raise ValueError(f"expected steps >= 0, got {self.steps}")
        if self.warmup < 0:
            raise ValueError(f"expected warmup >= 0, got {self.warmup}")

    def count(self, per_epoch: int) -> int:
        """Steps of this stage, where an epoch takes ``per_epoch``."""
        return self.steps if self.steps is not None else max(1, round(self.epochs * per_epoch))

    def rate_at(self, step: int, steps: int) -> float:
        """Learning rate of step 0 .. ``steps - 1``."""
        rising = min(1.0, (step + 1) / (self.warmup + 1))
        return float(rising * (self.rate + (self.final_rate - self.rate) * step / max(1, steps - 1)))

    def to_dict(self) -> dict[str, Any]:
        """What :class:`Stage` takes to make it again."""
        return asdict(self)


def staged_sgd(*, epochs: float = 1.0, finetune: int = 500, batch: int = 50) -> list[Stage]:
    """Eight stages of growing patches and falling rates, each followed by L-BFGS on the conditional density."""
    return [
        Stage("sgd", patch, rate, rate, batch=batch, epochs=epochs, finetune=finetune)
        for patch, rate in zip(PATCHES, RATES, strict=True)
    ]


def adam(
    steps: int, *, patch: int = 22, rate: float = 2e-2, final_rate: float = 5e-4, batch: int = 20, finetune: int = 0
) -> list[Stage]:
    """One stage of Adam, whose rate falls linearly after it has risen over the first tenth of the steps, 300 of them at most.

    Without the rise, the first steps drive units to where tanh is flat, and there they stay: of two layers of 64 units trained at once at
    2e-2 on dead leaves, in two runs, 72 and 33 % of the upper units did not vary over held-out images after 400 steps; with a rise over 100
    of these, 12 and 5 %.
    """
    warmup = min(WARMUP, steps // 10)
    return [Stage("adam", patch, rate, final_rate, batch=batch, steps=steps, finetune=finetune, warmup=warmup)]


def layer_by_layer(stages: list[Stage], layers: int) -> list[Stage]:
    """The schedule once for each layer: a layer is added to the trained ones, as :meth:`RIDE.add_layer` does, and all are trained."""
    return [
        Stage(**{**stage.to_dict(), "layers": layer if place == 0 else None})
        for layer in range(1, layers + 1)
        for place, stage in enumerate(stages)
    ]
