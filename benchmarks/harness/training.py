"""Training runs that outlast a working day."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from spatial_lstm.image_models.data import Splits
from spatial_lstm.image_models.training import ImageStage, ImageTask
from spatial_lstm.training import Checkpoint, Options, Trainer, holds_run


def trained(
    folder: Path, task: Callable[[], ImageTask], splits: Splits, stages: Sequence[ImageStage], options: Options
) -> Trainer[ImageTask]:
    """Run a schedule to its end in a folder, from where it was interrupted if the folder holds a run.

    Args:
        folder: Of the run.
        task: Makes the task of a new run.
        splits: Its data.
        stages: The schedule of a new run.
        options: Of a new run.
    """
    if holds_run(folder):
        checkpoint = Checkpoint.read(folder)
        trainer = Trainer.resume(folder, checkpoint, ImageTask.restore(checkpoint, splits))
    else:
        trainer = Trainer(task(), stages, folder=folder, options=options)
    trainer.run()
    return trainer
