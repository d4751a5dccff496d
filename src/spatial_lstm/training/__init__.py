"""Training: one loop with schedules, checkpoints, resuming and several processes, for whatever a :class:`Task` describes.

Not imported by :mod:`spatial_lstm`; knows no model. Tasks stand with their models, such as
:class:`spatial_lstm.image_models.training.ImageTask`.
"""

from __future__ import annotations

from spatial_lstm.progress import Bar
from spatial_lstm.training.checkpoint import BEST, LAST, METRICS, Checkpoint, holds_run, model_file, read_model
from spatial_lstm.training.distributed import Group, group_from_environment, local_device
from spatial_lstm.training.files import read_metrics
from spatial_lstm.training.loss import Loss
from spatial_lstm.training.options import Options, TrainingState
from spatial_lstm.training.pace import set_threads, step_seconds
from spatial_lstm.training.stage import Stage
from spatial_lstm.training.task import Batch, Batches, Task
from spatial_lstm.training.trainer import DivergedError, Trainer

__all__ = [
    "BEST",
    "LAST",
    "METRICS",
    "Bar",
    "Batch",
    "Batches",
    "Checkpoint",
    "DivergedError",
    "Group",
    "Loss",
    "Options",
    "Stage",
    "Task",
    "Trainer",
    "TrainingState",
    "group_from_environment",
    "holds_run",
    "local_device",
    "model_file",
    "read_metrics",
    "read_model",
    "set_threads",
    "step_seconds",
]
