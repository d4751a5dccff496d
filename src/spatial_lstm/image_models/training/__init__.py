"""Training image models with :mod:`spatial_lstm.training`: the task, its schedules, models as checkpoints, pictures."""

from __future__ import annotations

from spatial_lstm.image_models.training.rebuild import load_model
from spatial_lstm.image_models.training.schedule import ImageStage, adam, layer_by_layer, staged_sgd
from spatial_lstm.image_models.training.task import ImageOptions, ImageTask, evenly, step_seconds

__all__ = [
    "ImageOptions",
    "ImageStage",
    "ImageTask",
    "adam",
    "evenly",
    "layer_by_layer",
    "load_model",
    "staged_sgd",
    "step_seconds",
]
