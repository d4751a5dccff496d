"""Training recognizers with :mod:`spatial_lstm.training`: the task, its batches, its schedule, pictures of lines."""

from __future__ import annotations

from spatial_lstm.handwriting.training.augmentation import Augmentation
from spatial_lstm.handwriting.training.batches import LineBatch, LineBatches
from spatial_lstm.handwriting.training.digits import digit_lines
from spatial_lstm.handwriting.training.language import with_language
from spatial_lstm.handwriting.training.schedule import adamw
from spatial_lstm.handwriting.training.task import HandwritingTask

__all__ = ["Augmentation", "HandwritingTask", "LineBatch", "LineBatches", "adamw", "digit_lines", "with_language"]
