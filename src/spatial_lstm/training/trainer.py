"""The training loop: stages of steps, evaluation, early stopping, checkpoints from which a run continues bitwise."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from spatial_lstm.progress import Bar, bar_maker
from spatial_lstm.training import files
from spatial_lstm.training.checkpoint import Checkpoint, holds_run
from spatial_lstm.training.distributed import Group
from spatial_lstm.training.folder import RunFolder
from spatial_lstm.training.loss import Loss
from spatial_lstm.training.options import Options, TrainingState
from spatial_lstm.training.schedule import make_schedule
from spatial_lstm.training.stage import Stage
from spatial_lstm.training.stopwatch import Stopwatch
from spatial_lstm.training.task import Batches, Task

T = TypeVar("T", bound=Task[Any, Any])


class DivergedError(FloatingPointError):
    """Loss or score are no longer finite."""


class Trainer(Generic[T]):
    """Trains a task's model; the weights with the best score on held-out data are kept.

    Args:
        task: What is trained.
        stages: The schedule; all or none of them go by the clock, which counts the preparation, too. Without a stage the preparation is all
            there is.
        folder: Where ``last.pt``, ``best.pt`` and ``metrics.jsonl`` go; None to write nothing.
        overwrite: Whether a run that the folder holds may be lost.
        options: How to train.
        group: This process among its peers.
        notes: Plain values kept in the checkpoints, for whoever resumes.
        progress: Whether to show a bar on a terminal.
        label: Before the bar.
        clock: Returns seconds.

    Raises:
        ValueError: If the data do not suit the schedule, this counts in steps and in minutes, or the folder holds a run, or another process
            trains in it.
    """

    def __init__(
        self,
        task: T,
        stages: Sequence[Stage],
        *,
        folder: Path | None = None,
        overwrite: bool = False,
        options: Options | None = None,
        group: Group | None = None,
        notes: dict[str, Any] | None = None,
        progress: bool = True,
        label: str | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if folder is not None and not overwrite and holds_run(folder):
            raise ValueError(f"expected a folder without a run, got {folder}: resume it, or pass overwrite=True")
        self.task = task
        self.stages = list(stages)
        self.options = options or Options()
        self.group = group or Group()
        self.notes = notes or {}
        self.state = TrainingState()
        self.folder = folder if self.group.rank == 0 else None
        self._files = RunFolder(self.folder)
        self.schedule = make_schedule(stages, [self._batches(k).per_epoch for k in range(len(stages))])
        self._best: dict[str, Any] = {}
        self._improved = False  # since the best weights were written
        self._optimizer_state: dict[str, Any] | None = None
        self._prepared = False
        self._rate = 0.0
        self._reserve = 0.0
        self._watch = Stopwatch(clock)
        self._progress, self._label = progress and self.group.rank == 0, label
        if self._progress:
            bar_maker()  # rather missed now than after the data have been looked at
        self._bar = Bar(shown=False)

    @classmethod
    def resume(
        cls,
        folder: Path,
        checkpoint: Checkpoint,
        task: T,
        *,
        group: Group | None = None,
        progress: bool = True,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Trainer[T]:
        """Continue from a folder's checkpoint.

        On a machine that computes alike it goes on bitwise as if never interrupted; by the clock, for what is left of the time.

        Args:
            folder: Of the run.
            checkpoint: What :meth:`Checkpoint.read` found there.
            task: Made from it.
            group: As for a new one.
            progress: As for a new one.
            clock: As for a new one.

        Raises:
            ValueError: If the checkpoint is of another kind of task.
        """
        try:
            stages = [task.stage_type(**stage) for stage in checkpoint.stages]
        except TypeError as error:
            raise ValueError(f"expected a run of {type(task).__name__}, got another in {folder}: {error}") from error
        trainer = cls(
            task,
            stages,
            folder=folder,
            overwrite=True,
            options=checkpoint.options,
            group=group,
            notes=checkpoint.notes,
            progress=progress,
            clock=clock,
        )
        trainer.state = checkpoint.state
        trainer._watch = Stopwatch(clock, checkpoint.state.seconds)
        trainer._files = RunFolder(trainer.folder, checkpoint.metrics)
        trainer._best = checkpoint.best
        trainer._restore_best()
        trainer._optimizer_state = checkpoint.optimizer
        trainer._prepared = checkpoint.state.total > 0 or checkpoint.state.stage > 0 or bool(checkpoint.best)
        files.set_random_state(checkpoint.random)
        return trainer

    def prepare(self) -> None:
        """Do what comes before the first step, if it has not been done; :meth:`run` does it too.

        Raises:
            ValueError: If the data do not suit the model.
        """
        if self._prepared:
            return
        with self._watch, self._files.held():
            torch.manual_seed(self.options.seed)
            self.task.begin()
            self.group.copy_from_first(self.task.model)
            self._save(None)
            self._files.begin()
        self._prepared = True

    def run(self) -> float:
        """Train to the end of the schedule; return the best score. The model is left with the weights that have it.

        Raises:
            DivergedError: If loss or score are no longer finite.
        """
        self.prepare()
        bar = Bar(self.schedule.total, label=self._label, unit=self.schedule.unit, shown=self._progress)
        with self._watch, self._files.held(), bar as self._bar:
            self._show()
            if not (self.stages or self._best):
                self._evaluate("preparation")
                self._save(None)
            while self.state.stage < len(self.stages):
                self._run_stage(self.stages[self.state.stage])
        self._take_best()
        return self.state.best

    def _run_stage(self, stage: Stage) -> None:
        """From where the run stands to the stage's end."""
        if self.state.step == 0:
            self.state.began = self._now()
            if self.task.before(stage):
                self.state.best, self._best = -math.inf, {}
        loss = self.group.wrap(Loss(self.task, self.options.autocast))
        optimizer = stage.make_optimizer(self.task.model.parameters())
        if self._optimizer_state is not None:
            optimizer.load_state_dict(self._optimizer_state)
            self._rate = optimizer.param_groups[0]["lr"]  # of the last step: there may be none before the next score
        self._steps(loss, optimizer)
        if self.state.losses:
            self._evaluate("steps")
            self._save(optimizer.state_dict())
        if self._out_of_patience():
            self._take_best()
        self._follow(stage)
        self._optimizer_state = None
        self.state.stage, self.state.step, self.state.stale = self.state.stage + 1, 0, 0
        self._show()
        self._save(None)

    def _steps(self, loss: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """A stage's steps, from where the run stands until they are over or in vain."""
        batches = self._batches(self.state.stage)
        now = self._now(self._reserve)
        while not (self.schedule.over(self.state, now) or self._out_of_patience()):
            self._rate = self.schedule.rate(self.state, now)
            self._step(loss, optimizer, batches[self.state.step])
            if self._due(now):
                self._evaluate("steps")
            if self._improved or self._watch.seconds - self.state.seconds >= self.options.checkpoint_seconds:
                self._save(optimizer.state_dict())
            now = self._now(self._reserve)
            self._show()

    def _due(self, now: float) -> bool:
        """Whether to evaluate; by the clock also once, half-way, where it is not known yet how long the last evaluation will take."""
        first = self.schedule.timed and not self._best and self.schedule.gone(self.state, now) >= 0.5
        return first or self.state.step % self.options.validate_every == 0

    def _step(self, loss: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        """One step on this process's part of a batch."""
        for parameters in optimizer.param_groups:
            parameters["lr"] = self._rate
        part, weight = self.group.share(batch)
        optimizer.zero_grad()
        value: Tensor = loss(part.to(self.task.device), weight)
        value.backward()
        if self.options.clip:
            nn.utils.clip_grad_norm_(self.task.model.parameters(), self.options.clip)
        optimizer.step()
        self.state.loss += float(value.detach())
        self.state.losses += 1
        self.state.step += 1
        self.state.total += 1

    def _follow(self, stage: Stage) -> None:
        """Do what the task wants done after a stage's steps, in the first process."""
        for phase, work in self.task.after(stage).items():
            if self.group.rank == 0:
                self._bar.say(phase)
                work()
            self.group.copy_from_first(self.task.model)
            self._evaluate(phase)

    def _evaluate(self, phase: str) -> None:
        """Score the model; note and show the result, and keep the weights if they are the best so far."""
        loss = self.group.mean(self.state.loss / self.state.losses) if self.state.losses else None
        self.state.loss, self.state.losses = 0.0, 0
        start = self._watch.seconds
        score = self.group.agree(self.task.evaluate() if self.group.rank == 0 else 0.0)
        self._reserve = self._watch.seconds - start
        if not (math.isfinite(score) and math.isfinite(loss or 0.0)):
            self._keep_best()
            kept = "; the best weights so far are kept" if self._best else ""
            raise DivergedError(f"training diverged by step {self.state.total}: lower the learning rate{kept}")
        self.state.stale += 1
        if score > self.state.best:
            self.state.best, self.state.best_total, self.state.stale = score, self.state.total, 0
            self._best, self._improved = self.task.describe(), True
        self._tell(phase, loss, score)

    def _tell(self, phase: str, loss: float | None, score: float) -> None:
        """Note and show a score."""
        train = None if loss is None else self.task.score_of(loss)
        self._files.note(
            step=self.state.total,
            stage=self.state.stage,
            phase=phase,
            rate=self._rate if phase == "steps" else None,
            loss=loss,
            train=train,
            validation=score,
            best=self.state.best,
            seconds=round(self._watch.seconds, 3),
            **self.task.details(),
        )
        words = self.task.words
        shown = "" if loss is None else f"loss {loss:.3f}, " if train is None else f"train {words(train)}, "
        self._bar.say(f"{self.task.score}: {shown}validation {words(score)}, best {words(self.state.best)}")

    def _save(self, optimizer: dict[str, Any] | None) -> None:
        """Note the time; in the first process, write a checkpoint, then what has become best since the last."""
        self.state.seconds = self._watch.seconds
        if self.folder is not None:
            self._checkpoint(optimizer).save(self.folder)
        self._keep_best()

    def _checkpoint(self, optimizer: dict[str, Any] | None) -> Checkpoint:
        return Checkpoint(
            model=self.task.describe(),
            best=self._best,
            optimizer=optimizer,
            state=self.state,
            stages=[stage.to_dict() for stage in self.stages],
            options=self.options,
            task=self.task.settings(),
            notes=self.notes,
            metrics=self._files.metrics,
            random=files.random_state(),
        )

    def _keep_best(self) -> None:
        """Write the best weights, if they have not been written."""
        if self._improved:
            record = {"score": self.state.best, "unit": self.task.score, "steps": self.state.best_total}
            self._files.keep_best(self._best, {**record, "task": self.task.settings(), "notes": self.notes})
        self._improved = False

    def _restore_best(self) -> None:
        """Write the best weights where the folder has others: the process may have been killed before it could."""
        state = self.state
        known = bool(self._best) and state.best_total >= 0
        self._improved = known and not self._files.has_best(state.best, state.best_total)
        self._keep_best()

    def _take_best(self) -> None:
        if self._best:
            self.task.load(self._best)

    def _out_of_patience(self) -> bool:
        return 0 < self.options.patience <= self.state.stale

    def _batches(self, stage: int) -> Batches[Any]:
        batches: Batches[Any] = self.task.batches(self.stages[stage], (self.options.seed, stage))
        return batches

    def _now(self, reserve: float = 0.0) -> float:
        """Seconds that the run has taken and some in reserve: where it goes by the clock, by that of the first process."""
        seconds = self._watch.seconds + reserve
        return self.group.agree(seconds) if self.schedule.timed else seconds

    def _show(self) -> None:
        self._bar.move_to(self.schedule.done(self.state, self._watch.seconds))
