"""Training runs that outlast a working day."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from spatial_lstm.training import Checkpoint, Options, Stage, Task, Trainer, holds_run

T = TypeVar("T", bound=Task[Any, Any])


def trained(
    folder: Path,
    task: Callable[[], T],
    restore: Callable[[Checkpoint], T],
    stages: Sequence[Stage],
    options: Options,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Trainer[T]:
    """Run a schedule to its end in a folder, from where it was interrupted if the folder holds a run.

    Args:
        folder: Of the run.
        task: Makes the task of a new run.
        restore: Makes that of an interrupted one.
        stages: The schedule of a new run.
        options: Of a new run.
        clock: Returns seconds.
    """
    if holds_run(folder):
        checkpoint = Checkpoint.read(folder)
        trainer = Trainer.resume(folder, checkpoint, restore(checkpoint), clock=clock)
    else:
        trainer = Trainer(task(), stages, folder=folder, options=options, clock=clock)
    trainer.run()
    return trainer
