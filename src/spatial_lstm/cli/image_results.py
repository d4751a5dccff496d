"""What a finished run of an image model tells and leaves: ``result.json``, its record in the model file, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from spatial_lstm.cli.runs import RESULT, write_result
from spatial_lstm.cli.scores import tell, versions

if TYPE_CHECKING:
    from spatial_lstm.image_models.scoring import Score
    from spatial_lstm.image_models.training import ImageTask
    from spatial_lstm.training import Trainer

# Images in each row of the pictures.
SHOWN = 6


def keep(trainer: Trainer[ImageTask], folder: Path, *, threads: int, pictures: bool) -> int:
    """Score the test images, tell the scores, and write what a finished run leaves; return the exit status."""
    from spatial_lstm.training import BEST, METRICS

    task = trainer.task
    test = task.score_part("test")
    print(f"validation, {len(task.held_out)} tiles: {trainer.state.best:.4f} {task.unit}")
    side = task.side("test")
    status = tell(test, f"test images in tiles of {side}x{side}", remedy=task.model.remedy())
    found = result(trainer, test, threads)
    write_result(folder, found)
    written = [BEST, METRICS, RESULT]
    if pictures:
        written += _draw(folder, trainer)
    print(f"wrote {', '.join(written)} to {folder}; score, sample and inpaint take the model from there")
    return status


def result(trainer: Trainer[ImageTask], test: Score, threads: int) -> dict[str, Any]:
    """What there is to report of a run, as JSON takes it."""
    from spatial_lstm.image_models.scoring import score_images

    task = trainer.task
    held_out = score_images(task.model, list(task.held_out))
    validation = {"score": trainer.state.best, "unit": str(task.unit), "tiles": len(task.held_out)}
    return {
        "model": type(task.model).__name__,
        "parameters": sum(p.numel() for p in task.model.parameters()),
        "bits_per_pixel": {"validation": held_out.bits_per_pixel, "test": test.bits_per_pixel},
        "test": {**test.summary(), "tile": task.side("test")},
        "validation": {**validation, "tile": task.side("validation")},
        "steps": trainer.state.total,
        "seconds": round(trainer.state.seconds, 3),
        "threads": threads,
        "device": str(task.device),
        "data": task.splits.record(),
        "options": trainer.notes,
        "versions": versions(),
    }


def _draw(folder: Path, trainer: Trainer[ImageTask]) -> list[str]:
    """Draw the curve, samples and a filled hole; return the names of the files."""
    from spatial_lstm.image_models.training import evenly, pictures
    from spatial_lstm.training import METRICS, read_metrics
    from spatial_lstm.training.curve import learning_curve

    task, seed = trainer.task, trainer.options.seed
    shown = evenly(task.tiles("test"), SHOWN).to(task.device)
    learning_curve(folder / "curve.png", read_metrics(folder / METRICS), f"log-likelihood, {task.score}")
    pictures.draw_samples(folder / "samples.png", task.model, shown, seed=seed)
    if pictures.draw_inpainting(folder / "inpainting.png", task.model, shown, seed=seed):
        return ["curve.png", "samples.png", "inpainting.png"]
    return ["curve.png", "samples.png"]
