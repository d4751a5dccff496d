"""Training image models: schedules, the loop, checkpoints, metrics and pictures."""

from spatial_lstm.training.distributed import Group, Loss, group_from_environment, local_device
from spatial_lstm.training.files import BEST, LAST, METRICS, read_metrics, read_notes
from spatial_lstm.training.options import Options, Position
from spatial_lstm.training.rebuild import load_model
from spatial_lstm.training.schedule import Stage, adam, layer_by_layer, staged_sgd
from spatial_lstm.training.trainer import Trainer, evenly, step_seconds

__all__ = [
    "BEST",
    "LAST",
    "METRICS",
    "Group",
    "Loss",
    "Options",
    "Position",
    "Stage",
    "Trainer",
    "adam",
    "evenly",
    "group_from_environment",
    "layer_by_layer",
    "load_model",
    "local_device",
    "read_metrics",
    "read_notes",
    "staged_sgd",
    "step_seconds",
]
