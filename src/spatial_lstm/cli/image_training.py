"""What the commands that train image models do, whichever they train."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from spatial_lstm.cli.image_options import DATA, told_in_notes
from spatial_lstm.cli.image_results import keep
from spatial_lstm.cli.models import check_side, reading, trained_on
from spatial_lstm.cli.options import MAY_DIFFER, PATHS, given_options, refuse_given
from spatial_lstm.cli.training import Job, Say, options_of, refuse_run, resumed_notes, run_job

if TYPE_CHECKING:
    import torch

    from spatial_lstm.image_models import ImageModel
    from spatial_lstm.image_models.data import Splits
    from spatial_lstm.image_models.training import ImageStage, ImageTask, TrainedModel
    from spatial_lstm.training import Group, Trainer

Chosen = argparse.Namespace


@dataclass(frozen=True)
class Recipe:
    """What a command trains.

    Attributes:
        defaults: The options that make a run what it is.
        model: Those of them that a trained model brings with it.
        kinds: Of trained models that it can go on from.
        check: Refuses options that do not go together, by those that were given; may set those that follow from others.
        make_model: Makes the untrained model for images of so many channels.
        make_stages: Makes the schedule for training images of which most have so many rows and columns at least.
    """

    defaults: Mapping[str, Any]
    model: tuple[str, ...]
    kinds: tuple[str, ...]
    check: Callable[[Chosen, Mapping[str, Any]], None]
    make_model: Callable[[Chosen, int], ImageModel]
    make_stages: Callable[[Chosen, int], list[ImageStage]]


def train(args: argparse.Namespace, recipe: Recipe) -> int:
    """Train; 1 if training diverged or a test image has no finite likelihood, 130 if interrupted.

    Raises:
        UsageError: If the options, the data or the checkpoint are not usable.
    """
    return run_job(
        args,
        Job(
            begin=lambda device, group: _begun(args, recipe, device, group),
            resume=lambda device, group: _resumed(args, recipe, device, group),
            introduce=_introduce,
            keep=lambda trainer, threads: keep(trainer, args.out, threads=threads, pictures=not args.no_pictures),
        ),
    )


def _introduce(trainer: Trainer[ImageTask], say: Say) -> None:
    model, splits = trainer.task.model, trainer.task.splits
    parameters = sum(p.numel() for p in model.parameters())
    counts = ", ".join(f"{len(splits.part(part))} {part}" for part in ("train", "validation", "test"))
    say(f"{type(model).__name__} with {parameters:,} parameters on {splits.name}: {counts} images")
    for note in splits.notes:
        say(note.replace("color=True", "--color"))


def _begun(args: argparse.Namespace, recipe: Recipe, device: torch.device, group: Group) -> Trainer[ImageTask]:
    import torch

    from spatial_lstm.image_models.data import NAMES
    from spatial_lstm.image_models.training import ImageOptions, ImageTask, common_side
    from spatial_lstm.training import Trainer

    refuse_run(args)
    given = given_options(args, recipe.defaults, names=NAMES)
    chosen = argparse.Namespace(**{**recipe.defaults, **given})
    loaded = _loaded(chosen, given, recipe)
    recipe.check(chosen, given)
    notes = {**vars(chosen), "command": args.command}
    splits = _load(notes)
    if loaded is not None:
        splits = _following(loaded, splits, notes)
        notes |= dict.fromkeys(set(recipe.model) - {"color"})
    options = options_of(chosen, clip=0.0 if notes.get("schedule") == "sgd" else 1.0)
    looks = {name: notes[name] for name in ("tile", "validation_tiles", "finetune_pixels") if name in notes}
    torch.manual_seed(chosen.seed)
    model = recipe.make_model(chosen, splits.channels) if loaded is None else loaded.model.train()
    stages = recipe.make_stages(chosen, common_side(splits.train))
    for stage in stages:
        check_side(model, stage.patch, "patch")
    task = ImageTask(model.to(device), splits, ImageOptions(**looks), fitted=loaded is not None)
    return Trainer(task, stages, folder=args.out, overwrite=args.overwrite, options=options, group=group, notes=notes)


def _loaded(chosen: Chosen, given: Mapping[str, Any], recipe: Recipe) -> TrainedModel | None:
    """The model to go on from, which tells how images are read and divided; None where a new one is made.

    Raises:
        ValueError: If there is none, this command trains none of its kind, or options were given that it brings with it.
    """
    from spatial_lstm.image_models.training import open_model

    if chosen.load is None:
        return None
    refuse_given(given, recipe.model, "options of --load, which brings its own model")
    trained = open_model(chosen.load)
    if trained.record["kind"] not in recipe.kinds:
        raise ValueError(f"expected --load of a {' or '.join(recipe.kinds)}, got a {trained.record['kind']}")
    ways = reading(trained, {name: given.get(name) for name in ("gray", "binarize", "seed")})
    vars(chosen).update(ways)
    if "levels" in recipe.model:
        chosen.levels = trained.model.levels
    return trained


def _following(loaded: TrainedModel, splits: Splits, notes: Mapping[str, Any]) -> Splits:
    """The images, with a note if the model that is gone on from was trained on some that are held out now.

    Raises:
        ValueError: If they have not the model's channels.
    """
    if splits.channels != loaded.model.channels:
        raise ValueError(f"expected images of {loaded.model.channels} channels for --load, got {splits.channels}")
    found = []
    for part in ("validation", "test"):
        seen = trained_on(loaded, notes[part] or notes["data"], list(splits.sources.get(part, [])))
        found += [f"{part}: {note}, by the model of --load" for note in seen]
    return replace(splits, notes=[*splits.notes, *found])


def _resumed(args: argparse.Namespace, recipe: Recipe, device: torch.device, group: Group) -> Trainer[ImageTask]:
    from spatial_lstm.image_models.data import NAMES
    from spatial_lstm.image_models.training import ImageTask
    from spatial_lstm.training import Checkpoint, Trainer

    checkpoint = Checkpoint.read(args.out)
    # A folder may have been moved: what is in it tells whether it is the same, if the run has noted that.
    may_differ = MAY_DIFFER | (set(PATHS) if "data" in checkpoint.task else set())
    given = given_options(args, recipe.defaults, names=NAMES)
    notes = resumed_notes(args, checkpoint, given, may_differ)
    return Trainer.resume(args.out, checkpoint, ImageTask.restore(checkpoint, _load(notes), device), group=group)


def _load(notes: Mapping[str, Any]) -> Splits:
    from spatial_lstm.image_models.data import load

    ways = ("seed", "color", "gray", "binarize", "validation", "test")
    known = {**DATA, **notes}
    with told_in_notes():
        splits = load(known["data"], **{name: known[name] for name in ways})
    return splits if known["limit"] is None else splits.limited(known["limit"])
