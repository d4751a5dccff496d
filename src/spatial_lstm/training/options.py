"""How to train besides the schedule, and where a run stands."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How to train, besides the schedule.

    Attributes:
        seed: Of the order of patches and of everything drawn.
        validate_every: Steps between validations.
        validation_tiles: Validation tiles looked at, spread over the images.
        tile: Side of a validation tile, or less if the images are smaller.
        patience: Validations in a row without improvement that end a stage, its best weights taken; 0 for never.
        checkpoint_seconds: Time between checkpoints; one is written after each stage in any case.
        clip: Largest norm of the gradient; 0 for no limit.
        autocast: Compute in bfloat16 where that is safe.
        finetune_pixels: Pixels that L-BFGS looks at.
    """

    seed: int = 0
    validate_every: int = 100
    validation_tiles: int = 64
    tile: int = 64
    patience: int = 0
    checkpoint_seconds: float = 60.0
    clip: float = 0.0
    autocast: bool = False
    finetune_pixels: int = 200_000

    def __post_init__(self) -> None:
        if min(self.validate_every, self.validation_tiles, self.tile, self.finetune_pixels) < 1:
            raise ValueError(f"expected positive numbers of steps, tiles and pixels, got {self}")
        if min(self.seed, self.patience, self.checkpoint_seconds, self.clip) < 0:
            raise ValueError(f"expected seed, patience, checkpoint_seconds and clip >= 0, got {self}")


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        stage: Number of the stage.
        step: Steps done in it.
        total: Steps done.
        best: Best bits per pixel on the validation tiles.
        stale: Validations in this stage since then.
        seconds: Time taken up to the last checkpoint.
        nats: Sum of the losses since the last validation.
        losses: Number of them.
    """

    stage: int = 0
    step: int = 0
    total: int = 0
    best: float = -math.inf
    stale: int = 0
    seconds: float = 0.0
    nats: float = 0.0
    losses: int = 0
