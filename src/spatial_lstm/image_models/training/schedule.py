"""What is trained how long at which rate: the staged schedule of Theis & Bethge, 2015, and a schedule for Adam."""

from __future__ import annotations

from dataclasses import dataclass, replace

from spatial_lstm.training import Stage

# The schedule of the released code: sides of the patches, and the rate that goes with each.
PATCHES = (8, 10, 12, 14, 16, 18, 20, 22)
RATES = (1.0, 0.5, 0.1, 0.05, 0.01, 0.005, 0.001, 0.0005)
# Steps over which Adam's rate rises at most; see :func:`adam`.
WARMUP = 300


@dataclass(frozen=True, kw_only=True)
class ImageStage(Stage):
    """A stage for image models, which train on patches.

    Attributes:
        patch: Side of the patches, in pixels.
        mirror: Whether to train on their left-right mirror images, too.
        symmetries: Whether to train on all their flips and transposes, which :class:`~spatial_lstm.image_models.Ensemble` reads.
        finetune: L-BFGS iterations on the conditional density alone, after the steps.
        layers: Layers the model gets before the stage, those it has being kept; None for those it has.
    """

    patch: int
    mirror: bool = True
    symmetries: bool = False
    finetune: int = 0
    layers: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("patch", 1), ("finetune", 0), ("layers", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"expected {name} of at least {least}, got {value}")


def staged_sgd(
    *, epochs: float = 1.0, minutes: float | None = None, finetune: int = 500, batch: int = 50
) -> list[ImageStage]:
    """Eight stages of growing patches and falling rates, each followed by L-BFGS on the conditional density.

    Each takes so many epochs, or together they take so many ``minutes``, L-BFGS after the last of them not counted.
    """
    return [
        ImageStage(
            optimizer="sgd",
            patch=patch,
            rate=rate,
            final_rate=rate,
            batch=batch,
            epochs=epochs,
            minutes=None if minutes is None else minutes / len(PATCHES),
            finetune=finetune,
        )
        for patch, rate in zip(PATCHES, RATES, strict=True)
    ]


def adam(
    steps: int | None = None,
    *,
    minutes: float | None = None,
    patch: int = 22,
    rate: float = 2e-2,
    final_rate: float = 5e-4,
    batch: int = 20,
    mirror: bool = True,
    symmetries: bool = False,
    finetune: int = 0,
) -> list[ImageStage]:
    """One stage of Adam, of so many steps or minutes, whose rate falls linearly after it has risen.

    It rises over the first tenth, 300 steps at most. Without the rise, the first steps drive units to where tanh is flat, and there they
    stay: of two layers of 64 units trained at once at 2e-2 on dead leaves, in two runs, 72 and 33 % of the upper units did not vary over
    held-out images after 400 steps; with a rise over 100 of these, 12 and 5 %.

    Raises:
        ValueError: If neither steps nor minutes are given, or both are.
    """
    if steps is None and minutes is None:
        raise ValueError("expected steps or minutes, got neither")
    stage = ImageStage(
        optimizer="adam",
        patch=patch,
        rate=rate,
        final_rate=final_rate,
        batch=batch,
        steps=steps,
        minutes=minutes,
        mirror=mirror,
        symmetries=symmetries,
        finetune=finetune,
        warmup=WARMUP if steps is None else min(WARMUP, steps // 10),
    )
    return [stage]


def layer_by_layer(stages: list[ImageStage], layers: int) -> list[ImageStage]:
    """Return the schedule once for each layer; stages by the clock share their minutes out, each layer's as much as the one's before.

    A layer is added to the trained ones, by :meth:`~spatial_lstm.image_models.RIDE.add_layer`, and then all are trained.
    """
    return [
        replace(
            stage,
            layers=layer if place == 0 else None,
            minutes=None if stage.minutes is None else stage.minutes / layers,
        )
        for layer in range(1, layers + 1)
        for place, stage in enumerate(stages)
    ]
