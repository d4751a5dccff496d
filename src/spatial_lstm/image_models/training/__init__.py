"""Training image models with :mod:`spatial_lstm.training`: the task, its schedules, models as checkpoints, pictures."""

from __future__ import annotations

from spatial_lstm.image_models.training.batches import common_side
from spatial_lstm.image_models.training.rebuild import TrainedModel, load_model, open_model
from spatial_lstm.image_models.training.schedule import ImageStage, adam, layer_by_layer, staged_sgd
from spatial_lstm.image_models.training.task import ImageOptions, ImageTask, evenly

__all__ = [
    "ImageOptions",
    "ImageStage",
    "ImageTask",
    "TrainedModel",
    "adam",
    "common_side",
    "evenly",
    "layer_by_layer",
    "load_model",
    "open_model",
    "staged_sgd",
]
