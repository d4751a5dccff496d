"""How to train besides the schedule, and where a run stands."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How to train, besides the schedule.

    Attributes:
        seed: Of the order of examples and of everything drawn.
        validate_every: Steps between evaluations.
        patience: Evaluations in a row without improvement that end a stage, its best weights taken; 0 for never.
        checkpoint_seconds: Time between checkpoints; one is written with new best weights and after each stage in any case.
        clip: Largest norm of the gradient; 0 for no limit.
        autocast: Compute in bfloat16 where that is safe.

    Raises:
        ValueError: If a value is out of range.
    """

    seed: int = 0
    validate_every: int = 100
    patience: int = 0
    checkpoint_seconds: float = 60.0
    clip: float = 0.0
    autocast: bool = False

    def __post_init__(self) -> None:
        least = {"validate_every": 1, "seed": 0, "patience": 0, "checkpoint_seconds": 0, "clip": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if not value >= bound:
                raise ValueError(f"expected {name} of at least {bound}, got {value}")


@dataclass
class TrainingState:
    """Where a run stands.

    Attributes:
        stage: Number of the stage.
        step: Steps done in it.
        total: Steps done.
        best: Best score so far.
        best_total: Steps done by then; -1 where an older version has not noted it.
        stale: Evaluations in this stage since then.
        seconds: Time taken up to the last checkpoint.
        began: Seconds that the run had taken when the stage began.
        loss: Sum of the losses since the last evaluation.
        losses: Number of them.
    """

    stage: int = 0
    step: int = 0
    total: int = 0
    best: float = -math.inf
    best_total: int = -1
    stale: int = 0
    seconds: float = 0.0
    began: float = 0.0
    loss: float = 0.0
    losses: int = 0
