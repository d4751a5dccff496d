"""The training loop: stages of steps, validation, early stopping, checkpoints from which a run continues bitwise."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from spatial_lstm.image_models import ImageModel
from spatial_lstm.image_models.data import Splits, tiles
from spatial_lstm.training import files
from spatial_lstm.training.batches import Batches
from spatial_lstm.training.distributed import Group, Loss
from spatial_lstm.training.options import Options, Position
from spatial_lstm.training.rebuild import describe, grow, rebuild
from spatial_lstm.training.schedule import Stage

MOMENTUM = 0.9


class Trainer:
    """Trains an image model on a data set's training images; the weights best on its validation images are kept.

    Args:
        model: To train; its whitening is fitted in the beginning.
        splits: The data.
        stages: The schedule.
        folder: Where ``last.pt``, ``best.pt`` and ``metrics.jsonl`` go; None to write nothing.
        options: How to train.
        group: This process among its peers.
        notes: Plain values kept in the checkpoints, for whoever resumes.
        progress: Whether to show a bar.
        label: Before the bar.

    Raises:
        ValueError: If images are too small for the schedule's patches, or the schedule is empty.
    """

    def __init__(
        self,
        model: ImageModel,
        splits: Splits,
        stages: Sequence[Stage],
        *,
        folder: Path | None = None,
        options: Options | None = None,
        group: Group | None = None,
        notes: dict[str, Any] | None = None,
        progress: bool = True,
        label: str | None = None,
    ) -> None:
        if not stages:
            raise ValueError("expected a schedule of at least one stage, got none")
        self.model = model
        self.splits = splits
        self.stages = list(stages)
        self.options = options or Options()
        self.group = group or Group()
        self.notes = notes or {}
        self.at = Position()
        self.device = next(model.parameters()).device
        self.folder = folder if self.group.rank == 0 else None
        self._steps = [stage.count(self._batches(k).per_epoch) for k, stage in enumerate(self.stages)]
        self._held_out = evenly(self.tiles("validation"), self.options.validation_tiles).to(self.device)
        self._best: dict[str, Any] = {}
        self._optimiser_state: dict[str, Any] | None = None
        self._metrics: files.Metrics | None = None
        self._saved = time.perf_counter()
        self._bar = tqdm(
            desc=label, total=sum(self._steps), unit="step", disable=not progress or self.group.rank > 0, delay=0.1
        )

    @classmethod
    def resume(
        cls,
        folder: Path,
        splits: Splits,
        *,
        device: torch.device | str = "cpu",
        group: Group | None = None,
        progress: bool = True,
    ) -> Trainer:
        """Continue from ``last.pt``; on a machine that computes alike, bitwise as if never interrupted.

        Raises:
            ValueError: If there is no checkpoint, or it cannot be read.
        """
        content = files.read(folder / files.LAST)
        trainer = cls(
            rebuild(content["model"]).to(device),
            splits,
            [Stage(**stage) for stage in content["stages"]],
            folder=folder,
            options=Options(**content["options"]),
            group=group,
            notes=content["notes"],
            progress=progress,
        )
        trainer.at = Position(**content["position"])
        trainer._best = content["best"]
        trainer._optimiser_state = content["optimiser"]
        if trainer.folder is not None:
            trainer._metrics = files.Metrics(folder / files.METRICS, content["metrics"])
        files.set_random_state(content["random"])
        return trainer

    def tiles(self, part: str) -> Tensor:
        """All tiles of ``"train"``, ``"validation"`` or ``"test"``, as large as the options say or as the images allow."""
        images = self.splits.part(part)
        return tiles(images, min(self.options.tile, *(extent for image in images for extent in image.shape[1:])))

    def bits(self, images: Tensor) -> float:
        """The model's bits per pixel on images ``(N, C, H, W)``."""
        return float(self.model.bits_per_pixel(images.to(self.device), batch_size=16))

    def run(self) -> float:
        """Train to the end of the schedule; return the best validation bits per pixel. The model is left with the weights that have it.

        Raises:
            FloatingPointError: If the loss is no longer finite.
        """
        with self._bar:
            if self.at.total == 0 and self.at.stage == 0:
                self._begin()
            self._bar.update(self._done() - self._bar.n)
            self._saved = time.perf_counter()
            while self.at.stage < len(self.stages):
                self._run_stage(self.stages[self.at.stage], self._steps[self.at.stage])
        self._take_best()
        return self.at.best

    def _begin(self) -> None:
        torch.manual_seed(self.options.seed)
        if self.folder is not None:
            self._metrics = files.Metrics(self.folder / files.METRICS)
        self.model.fit_whitening(evenly(self.tiles("train"), 4 * self.options.validation_tiles).to(self.device))
        self.group.copy_from_first(self.model)
        self._save(None)

    def _run_stage(self, stage: Stage, steps: int) -> None:
        """From the present position to the stage's end."""
        if self.at.step == 0 and (grown := grow(self.model, stage.layers)) is not self.model:
            self.model, self.at.best, self._best = grown, -math.inf, {}
        loss = self.group.wrap(Loss(self.model, self.options.autocast))
        optimiser = make_optimiser(stage, self.model)
        if self._optimiser_state is not None:
            optimiser.load_state_dict(self._optimiser_state)
        batches = self._batches(self.at.stage)
        while self.at.step < steps and not self._out_of_patience():
            self._step(loss, optimiser, batches[self.at.step], stage.rate_at(self.at.step, steps))
            if self.at.step % self.options.validate_every == 0 or self.at.step == steps:
                self._judge("steps")
            if self.at.step < steps and time.perf_counter() - self._saved >= self.options.checkpoint_seconds:
                self._save(optimiser.state_dict())
        if self._out_of_patience():
            self._take_best()
        if stage.finetune:
            self._finetune(stage.finetune)
        self._optimiser_state = None
        self.at.stage, self.at.step, self.at.stale = self.at.stage + 1, 0, 0
        self._bar.update(self._done() - self._bar.n)
        self._save(None)

    def _step(self, loss: nn.Module, optimiser: torch.optim.Optimizer, batch: Tensor, rate: float) -> None:
        """One step on this process's part of a batch."""
        for parameters in optimiser.param_groups:
            parameters["lr"] = rate
        part, weight = self.group.share(batch)
        optimiser.zero_grad()
        value: Tensor = loss(part.to(self.device), weight)
        value.backward()
        if self.options.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip)
        optimiser.step()
        self.at.nats += float(value.detach())
        self.at.losses += 1
        self.at.step += 1
        self.at.total += 1
        self._bar.update()

    def _finetune(self, iterations: int) -> None:
        """L-BFGS on the conditional density, by the first process."""
        if self.group.rank == 0:
            self._bar.set_postfix_str("L-BFGS")
            images = evenly(self.tiles("train"), max(1, self.options.finetune_pixels // self.options.tile**2))
            self.model.fit_mcgsm(images.to(self.device), max_iterations=iterations, validation=self._held_out)
        self.group.copy_from_first(self.model)
        self._judge("finetune")

    def _judge(self, phase: str) -> None:
        """Score the validation tiles; note and show the result, and keep the weights if they are the best so far."""
        train = -self.group.mean(self.at.nats / max(1, self.at.losses)) / math.log(2) if self.at.losses else None
        self.at.nats, self.at.losses = 0.0, 0
        held_out = self.group.agree(self.bits(self._held_out) if self.group.rank == 0 else 0.0)
        if not (math.isfinite(held_out) and math.isfinite(train or 0.0)):
            raise FloatingPointError(
                f"training diverged by step {self.at.total}: lower the learning rate; the best weights so far are kept"
            )
        self.at.stale += 1
        if held_out > self.at.best:
            self.at.best, self.at.stale = held_out, 0
            self._best = describe(self.model)
            if self.folder is not None:
                files.save(self.folder / files.BEST, {"model": self._best, "bits": held_out, "notes": self.notes})
        if self._metrics is not None:
            seconds = self.at.seconds + time.perf_counter() - self._saved
            self._metrics.add(
                step=self.at.total,
                stage=self.at.stage,
                phase=phase,
                train=train,
                validation=held_out,
                best=self.at.best,
                seconds=round(seconds, 3),
            )
        shown = "" if train is None else f"train {train:.3f}, "
        self._bar.set_postfix_str(f"bits/pixel: {shown}validation {held_out:.3f}, best {self.at.best:.3f}")

    def _save(self, optimiser: dict[str, Any] | None) -> None:
        now = time.perf_counter()
        self.at.seconds, self._saved = self.at.seconds + now - self._saved, now
        if self.folder is None:
            return
        content = {
            "model": describe(self.model),
            "best": self._best,
            "optimiser": optimiser,
            "position": asdict(self.at),
            "stages": [stage.to_dict() for stage in self.stages],
            "options": asdict(self.options),
            "notes": self.notes,
            "metrics": self._metrics.size if self._metrics else 0,
            "random": files.random_state(),
        }
        files.save(self.folder / files.LAST, content)

    def _take_best(self) -> None:
        if self._best:
            self.model.load_state_dict(self._best["state"])

    def _out_of_patience(self) -> bool:
        return 0 < self.options.patience <= self.at.stale

    def _batches(self, stage: int) -> Batches:
        settings = self.stages[stage]
        return Batches(self.splits.train, settings.patch, settings.batch, seed=(self.options.seed, stage))

    def _done(self) -> int:
        """Steps up to the present position, those that early stopping left out among them."""
        return sum(self._steps[: self.at.stage]) + self.at.step


def step_seconds(model: ImageModel, splits: Splits, stage: Stage, options: Options, steps: int = 20) -> float:
    """Time a stage's steps on a copy of a model."""
    brief = replace(options, validate_every=steps, validation_tiles=1)
    trial = Trainer(copy.deepcopy(model), splits, [replace(stage, steps=steps)], options=brief, progress=False)
    trial.run()
    return trial.at.seconds / steps


def make_optimiser(stage: Stage, model: nn.Module) -> torch.optim.Optimizer:
    """The stage's optimiser over all parameters."""
    if stage.optimiser == "sgd":
        return torch.optim.SGD(model.parameters(), stage.rate, momentum=MOMENTUM)
    return torch.optim.Adam(model.parameters(), stage.rate)


def evenly(images: Tensor, count: int) -> Tensor:
    """At most ``count`` images, spread evenly over all."""
    if len(images) <= count:
        return images
    return images[torch.linspace(0, len(images) - 1, count).round().long()]
