"""Training an image model by its likelihood of patches."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from spatial_lstm.image_models.base import HasConditional, ImageModel, NotFiniteError
from spatial_lstm.image_models.data import Splits, tiles
from spatial_lstm.image_models.training.batches import PatchBatches, large_enough
from spatial_lstm.image_models.training.rebuild import describe, grow, rebuild
from spatial_lstm.image_models.training.schedule import ImageStage
from spatial_lstm.training import Checkpoint, Options, Task, Trainer


@dataclass(frozen=True)
class ImageOptions:
    """What is looked at besides the patches.

    Attributes:
        validation_tiles: Validation tiles scored, spread over the images.
        tile: Side of a tile, or less if half of the images are smaller; then those below are left out, with a warning.
        finetune_pixels: Pixels that L-BFGS looks at.

    Raises:
        ValueError: If one is not positive.
    """

    validation_tiles: int = 64
    tile: int = 64
    finetune_pixels: int = 200_000

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise ValueError(f"expected {name} of at least 1, got {value}")


class ImageTask(Task[ImageStage, Tensor]):
    """An image model and a data set: trained on its training images, scored on its validation images.

    Args:
        model: To train; its whitening is fitted in the beginning.
        splits: The data.
        options: What is looked at besides the patches.

    Raises:
        ValueError: If there is no validation image.
    """

    model: ImageModel
    stage_type = ImageStage
    score = "bits per pixel"

    def __init__(self, model: ImageModel, splits: Splits, options: ImageOptions | None = None) -> None:
        self.model = model
        self.splits = splits
        self.options = options or ImageOptions()
        self.held_out = evenly(self.tiles("validation"), self.options.validation_tiles).to(self.device)

    @classmethod
    def restore(cls, checkpoint: Checkpoint, splits: Splits, device: torch.device | str = "cpu") -> ImageTask:
        """Return the task that a run was begun with.

        Raises:
            ValueError: If it was no image model's, or had other data.
        """
        settings = dict(checkpoint.task)
        found = settings.pop("data", None)
        if found is not None and not splits.resembles(found):
            raise ValueError(f"expected the data that the run was begun with, got other images in {splits.name}")
        return cls(rebuild(checkpoint.model).to(device), splits, ImageOptions(**settings))

    def tiles(self, part: str) -> Tensor:
        """All tiles of ``"train"``, ``"validation"`` or ``"test"``, as large as the options say, or as most of the images allow."""
        images = self.splits.part(part)
        allowed = statistics.median_low([min(image.shape[1:]) for image in images]) if images else 1
        side = min(self.options.tile, allowed)
        return tiles(large_enough(images, side), side)

    def bits(self, images: Tensor) -> float:
        """The model's bits per pixel on images ``(N, C, H, W)``."""
        return self.model.bits_per_pixel(images.to(self.device), batch_size=16)

    def batches(self, stage: ImageStage, seed: Sequence[int]) -> PatchBatches:
        return PatchBatches(self.splits.train, stage.patch, stage.batch, seed=seed, mirror=stage.mirror)

    def loss(self, batch: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of a scored pixel in nats."""
        nats, pixels = self.model.log_prob(batch)
        return -nats.sum() / (pixels * max(1, len(batch)))

    def evaluate(self) -> float:
        """Return bits per pixel on the validation tiles; NaN, which ends a run as diverged, where they are not finite."""
        try:
            return self.bits(self.held_out)
        except NotFiniteError:
            return math.nan

    def score_of(self, loss: float) -> float:
        return -loss / math.log(2)

    def describe(self) -> dict[str, Any]:
        return describe(self.model)

    def load(self, description: dict[str, Any]) -> None:
        self.model.load_state_dict(description["state"])

    def settings(self) -> dict[str, Any]:
        return {**asdict(self.options), "data": self.splits.summary()}

    def begin(self) -> None:
        """Fit what the model fits in closed form."""
        self.model.prepare(evenly(self.tiles("train"), 4 * self.options.validation_tiles).to(self.device))

    def before(self, stage: ImageStage) -> bool:
        """Add layers."""
        model = grow(self.model, stage.layers)
        grown = model is not self.model
        self.model = model
        return grown

    def after(self, stage: ImageStage) -> Mapping[str, Callable[[], object]]:
        """L-BFGS on the conditional density."""
        return {"finetune": lambda: self._finetune(stage.finetune)} if stage.finetune else {}

    def _finetune(self, iterations: int) -> None:
        if not isinstance(self.model, HasConditional):
            raise ValueError(
                f"expected a model with a conditional density to fine-tune, got {type(self.model).__name__}"
            )
        images = evenly(self.tiles("train"), max(1, self.options.finetune_pixels // self.options.tile**2))
        self.model.fit_mcgsm(images.to(self.device), max_iterations=iterations, validation=self.held_out)


def evenly(images: Tensor, count: int) -> Tensor:
    """At most ``count`` images, spread evenly over all."""
    if len(images) <= count:
        return images
    return images[torch.linspace(0, len(images) - 1, count).round().long()]


def step_seconds(model: ImageModel, splits: Splits, stage: ImageStage, options: Options, steps: int = 20) -> float:
    """Time a stage's steps on a copy of a model."""
    brief = replace(options, validate_every=steps)
    task = ImageTask(copy.deepcopy(model), splits, ImageOptions(validation_tiles=1))
    trial = Trainer(task, [replace(stage, steps=steps)], options=brief, progress=False)
    trial.run()
    return trial.state.seconds / steps
