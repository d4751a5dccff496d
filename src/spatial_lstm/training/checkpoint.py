"""What a run leaves in its folder, from which it continues."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from spatial_lstm.training import files, published
from spatial_lstm.training.options import Options, TrainingState

LAST, BEST, METRICS = "last.pt", "best.pt", "metrics.jsonl"
# Of the checkpoint; version 0.1 of the package wrote the first, without saying so. The second knew no clock, the third not when the
# weights were best.
FORMAT = 4
READABLE = (2, 3, FORMAT)


@dataclass
class Checkpoint:
    """Everything that a run needs to continue: ``last.pt``.

    Attributes:
        model: What :meth:`~spatial_lstm.training.Task.describe` returned last.
        best: What it returned where the score was best.
        optimizer: The optimizer's state in the middle of a stage; None between stages.
        state: Where the run stands.
        stages: The schedule, as dictionaries.
        options: How it trains.
        task: What :meth:`~spatial_lstm.training.Task.settings` returned.
        notes: Plain values for whoever resumes.
        metrics: Bytes of the metrics file that belong to it.
        random: The state of every global generator.
    """

    model: dict[str, Any]
    best: dict[str, Any]
    optimizer: dict[str, Any] | None
    state: TrainingState
    stages: list[dict[str, Any]]
    options: Options
    task: dict[str, Any]
    notes: dict[str, Any]
    metrics: int
    random: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write it into a folder, in the place of an older one."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {"state": asdict(self.state), "options": asdict(self.options), "format": FORMAT}
        files.save(folder / LAST, {**content, **plain})

    @classmethod
    def read(cls, folder: Path) -> Checkpoint:
        """Read a folder's.

        Raises:
            ValueError: If there is none, or it cannot be read.
        """
        path = folder / LAST
        content = files.read(path)
        if "format" not in content and {"position", "options", "optimiser"} <= content.keys():
            content = _from_first_format(content)
        found = content.pop("format", None)
        if found not in READABLE:
            raise ValueError(f"expected a checkpoint of format {FORMAT} or older, got {path} of format {found}")
        try:
            plain = {"state": TrainingState(**content["state"]), "options": Options(**content["options"])}
            return cls(**{**content, **plain})
        except (KeyError, TypeError) as error:
            raise ValueError(f"expected a checkpoint of a training run, got {path}: {error}") from error


def holds_run(folder: Path) -> bool:
    """Whether a folder holds weights that somebody trained."""
    return any((folder / name).exists() for name in (LAST, BEST))


def model_file(path: Path) -> Path:
    """Return the file that holds a trained model: ``path`` itself, or the best one in a run's folder, else the last, or a published one.

    Raises:
        ValueError: If it is a folder with none of them.
    """
    if not path.is_dir():
        return path
    found = [path / name for name in (BEST, LAST, published.CONFIG) if (path / name).is_file()]
    if not found:
        missing = f"no {BEST} and no {published.CONFIG} of a published model"
        raise ValueError(f"expected a model file or a run's folder, got {path}, in which there is {missing}")
    return found[0]


def read_model(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the file of :func:`model_file` and what it holds, whether a run wrote it or it was published.

    Raises:
        ValueError: If there is none, or it cannot be read.
    """
    file = model_file(path)
    if file.name in (published.CONFIG, published.WEIGHTS):
        return file, published.read(file.parent)
    return file, files.read(file)


def _from_first_format(content: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint of version 0.1: other names, and the task's options among the others."""
    state, options, stages = content["position"], content["options"], content["stages"]
    names = {field.name for field in fields(Options)}
    kept = {name: content[name] for name in ("model", "best", "notes", "metrics", "random")}
    return {
        **kept,
        "format": 2,
        "state": {("loss" if name == "nats" else name): value for name, value in state.items()},
        "optimizer": content["optimiser"],
        "stages": [{("optimizer" if name == "optimiser" else name): stage[name] for name in stage} for stage in stages],
        "options": {name: value for name, value in options.items() if name in names},
        "task": {name: value for name, value in options.items() if name not in names},
    }
