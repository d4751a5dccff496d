"""Training an image model by its likelihood of patches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from spatial_lstm.image_models.base import HasConditional, ImageModel
from spatial_lstm.image_models.data import Splits, tiles
from spatial_lstm.image_models.scoring import Score, score_images
from spatial_lstm.image_models.training.batches import PatchBatches, common_side, large_enough
from spatial_lstm.image_models.training.rebuild import describe, grow, rebuild
from spatial_lstm.image_models.training.schedule import ImageStage
from spatial_lstm.image_models.units import unit_of
from spatial_lstm.training import Checkpoint, Task


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
        model: To train; what it has in closed form is fitted in the beginning, as its whitening.
        splits: The data.
        options: What is looked at besides the patches.
        fitted: Whether what the model has in closed form stays as it is.

    Attributes:
        unit: Of the scores.
        held_out: Validation tiles.

    Raises:
        ValueError: If there is no validation image, or the model can score none of a part, or no tile.
    """

    model: ImageModel
    stage_type = ImageStage

    def __init__(
        self, model: ImageModel, splits: Splits, options: ImageOptions | None = None, *, fitted: bool = False
    ) -> None:
        self.model = model
        self.fitted = fitted
        self.splits = splits
        self.options = options or ImageOptions()
        self.unit = unit_of(model)
        self.score = self.unit.name
        self._summary, self._record = splits.summary(), splits.record()
        self.held_out = evenly(self.tiles("validation"), self.options.validation_tiles).to(self.device)
        self.side("test")  # known to be one before training

    @classmethod
    def restore(cls, checkpoint: Checkpoint, splits: Splits, device: torch.device | str = "cpu") -> ImageTask:
        """Return the task that a run was begun with.

        Raises:
            ValueError: If it was no image model's, or had other data.
        """
        settings = {name: value for name, value in checkpoint.task.items() if name not in ("data", "record", "side")}
        found = checkpoint.task.get("data")
        if found is not None and not splits.resembles(found):
            raise ValueError(f"expected the data that the run was begun with, got other images in {splits.name}")
        return cls(rebuild(checkpoint.model).to(device), splits, ImageOptions(**settings))

    def tiles(self, part: str) -> Tensor:
        """All tiles of ``"train"``, ``"validation"`` or ``"test"``."""
        side = self.side(part)
        return tiles(large_enough(self.splits.part(part), side), side)

    def side(self, part: str) -> int:
        """The side of a part's tiles: as large as the options say, or as most of the images that the model can score allow.

        Raises:
            ValueError: If it can score none, or no tile of the options' side.
        """
        scale = getattr(self.model, "scale", 1)
        least = -(-(2 * self.model.border + scale) // scale) * scale
        name, images = type(self.model).__name__, self.splits.part(part)
        if self.options.tile < least:
            raise ValueError(f"expected a tile side of at least {least} for a {name}, got {self.options.tile}")
        scored = [image for image in images if min(image.shape[1:]) >= least]
        if images and not scored:
            raise ValueError(
                f"expected images for {part} of at least {least}x{least} pixels for a {name}, got {len(images)}, smaller"
            )
        return min(self.options.tile, common_side(scored)) // scale * scale

    def score_part(self, part: str) -> Score:
        """Score all tiles of a part, image by image."""
        images, side = self.splits.part(part), self.side(part)
        names = self.splits.sources.get(part, [])
        if len(names) != len(images):
            names = [f"{part} {place}" for place in range(len(images))]
        kept = [place for place, image in enumerate(images) if min(image.shape[1:]) >= side]
        return score_images(self.model, [images[k] for k in kept], [names[k] for k in kept], tile=side)

    def bits(self, images: Tensor) -> float:
        """The model's bits per pixel on images ``(N, C, H, W)``."""
        return self.model.bits_per_pixel(images.to(self.device), batch_size=16)

    def batches(self, stage: ImageStage, seed: Sequence[int]) -> PatchBatches:
        images, mirror, symmetries = self.splits.train, stage.mirror, stage.symmetries
        return PatchBatches(images, stage.patch, stage.batch, seed=seed, mirror=mirror, symmetries=symmetries)

    def loss(self, batch: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of a scored pixel in nats."""
        nats, pixels = self.model.log_prob(batch)
        return -nats.sum() / (pixels * max(1, len(batch)))

    def evaluate(self) -> float:
        """Return the likelihood of the validation tiles; NaN, which ends a run as diverged, where one is not finite."""
        found = score_images(self.model, list(self.held_out))
        return self.unit.of(found.nats, found.pixels, self.model.channels, len(found.images))

    def score_of(self, loss: float) -> float:
        pixels = self.held_out[0, 0].numel()
        return self.unit.of(-loss * pixels, pixels, self.model.channels)

    def describe(self) -> dict[str, Any]:
        return describe(self.model)

    def load(self, description: dict[str, Any]) -> None:
        self.model.load_state_dict(description["state"])

    def settings(self) -> dict[str, Any]:
        """Return the options, and what the data are: their summary, by which they are known again, their record and the side of tiles."""
        data = {"data": self._summary, "record": self._record, "side": self.side("validation")}
        return {**asdict(self.options), **data}

    def begin(self) -> None:
        """Fit what the model fits in closed form, unless it has been fitted."""
        if not self.fitted:
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
    return images[torch.linspace(0, len(images) - 1, count, device="cpu").round().long()]
