"""What the commands that train image models do, whichever they train."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spatial_lstm.cli.errors import input_errors
from spatial_lstm.cli.image_options import DATA, MAY_DIFFER, PATHS, given_options, told_in_notes
from spatial_lstm.cli.image_results import keep
from spatial_lstm.cli.runs import require_matplotlib, tell_diverged, tell_interrupted

if TYPE_CHECKING:
    import torch

    from spatial_lstm.image_models import ImageModel
    from spatial_lstm.image_models.data import Splits
    from spatial_lstm.image_models.training import ImageStage, ImageTask
    from spatial_lstm.training import Group, Trainer

Chosen = argparse.Namespace


@dataclass(frozen=True)
class Recipe:
    """What a command trains.

    Attributes:
        defaults: The options that make a run what it is.
        check: Refuses options that do not go together, by those that were given; may set those that follow from others.
        make_model: Makes the untrained model for images of so many channels.
        make_stages: Makes the schedule for training images of which most have so many rows and columns at least.
    """

    defaults: Mapping[str, Any]
    check: Callable[[Chosen, Mapping[str, Any]], None]
    make_model: Callable[[Chosen, int], ImageModel]
    make_stages: Callable[[Chosen, int], list[ImageStage]]


def train(args: argparse.Namespace, recipe: Recipe) -> int:
    """Train; 1 if training diverged or a test image has no finite likelihood, 130 if interrupted.

    Raises:
        UsageError: If the options, the data or the checkpoint are not usable.
    """
    from spatial_lstm.training import DivergedError, group_from_environment, local_device

    if not args.no_pictures:
        require_matplotlib()
    with input_errors():
        device = local_device(args.device)
    try:
        with group_from_environment(device) as group:
            with input_errors():
                trainer = (_resumed if args.resume else _begun)(args, recipe, device, group)
                trainer.prepare()
            return _train(args, trainer)
    except DivergedError as error:
        return tell_diverged(args.command, error)
    except KeyboardInterrupt:
        return tell_interrupted(args.command, args.out)


def _train(args: argparse.Namespace, trainer: Trainer[ImageTask]) -> int:
    say = print if trainer.group.rank == 0 else _nothing
    model, splits = trainer.task.model, trainer.task.splits
    parameters = sum(p.numel() for p in model.parameters())
    counts = ", ".join(f"{len(splits.part(part))} {part}" for part in ("train", "validation", "test"))
    say(f"{type(model).__name__} with {parameters:,} parameters on {splits.name}: {counts} images")
    for note in splits.notes:
        say(note.replace("color=True", "--color"))
    threads = _choose_threads(trainer)
    say(f"writing to {args.out}, on {args.device}, threads: {threads}")
    trainer.run()
    return keep(trainer, args.out, threads=threads, pictures=not args.no_pictures) if trainer.group.rank == 0 else 0


def _choose_threads(trainer: Trainer[ImageTask]) -> int:
    """Set the number of threads that was wanted, or the faster one at the stage that comes; return it."""
    import torch

    from spatial_lstm.training import set_threads, step_seconds

    wanted = trainer.notes.get("threads", "auto")
    if wanted != "auto":
        return set_threads(wanted, _nothing)
    if trainer.task.device.type != "cpu" or trainer.state.stage == len(trainer.stages):
        return torch.get_num_threads()
    stage = trainer.stages[trainer.state.stage]
    return set_threads(None, lambda: step_seconds(trainer.task, stage, steps=4, autocast=trainer.options.autocast))


def _begun(args: argparse.Namespace, recipe: Recipe, device: torch.device, group: Group) -> Trainer[ImageTask]:
    import torch

    from spatial_lstm.image_models.training import ImageOptions, ImageTask, common_side
    from spatial_lstm.training import Options, Trainer, holds_run

    if not args.overwrite and holds_run(args.out):
        how = "add --resume to continue it or --overwrite to lose it, or choose another --out"
        raise ValueError(f"expected a folder without a run, got {args.out}: {how}")
    given = given_options(args, recipe.defaults)
    chosen = argparse.Namespace(**{**recipe.defaults, **given})
    recipe.check(chosen, given)
    notes = {**vars(chosen), "command": args.command}
    splits = _load(notes)
    options = Options(
        seed=chosen.seed,
        validate_every=chosen.validate_every,
        patience=chosen.patience,
        checkpoint_seconds=chosen.checkpoint_seconds,
        clip=0.0 if notes.get("schedule") == "sgd" else 1.0,
        autocast=chosen.autocast,
    )
    looks = {name: notes[name] for name in ("tile", "validation_tiles", "finetune_pixels") if name in notes}
    torch.manual_seed(chosen.seed)
    task = ImageTask(recipe.make_model(chosen, splits.channels).to(device), splits, ImageOptions(**looks))
    stages = recipe.make_stages(chosen, common_side(splits.train))
    return Trainer(task, stages, folder=args.out, overwrite=args.overwrite, options=options, group=group, notes=notes)


def _resumed(args: argparse.Namespace, recipe: Recipe, device: torch.device, group: Group) -> Trainer[ImageTask]:
    from spatial_lstm.image_models.training import ImageTask
    from spatial_lstm.training import Checkpoint, Trainer

    checkpoint = Checkpoint.read(args.out)
    notes, given = checkpoint.notes, given_options(args, recipe.defaults)
    begun_by = notes.get("command", "train-ride")  # older runs do not say
    if begun_by != args.command:
        raise ValueError(f"expected a run of {args.command} in {args.out}, got one of {begun_by}")
    # A folder may have been moved: what is in it tells whether it is the same, if the run has noted that.
    may_differ = MAY_DIFFER | (set(PATHS) if "data" in checkpoint.task else set())
    for name in notes.keys() & given.keys() - may_differ:
        if given[name] != notes[name]:
            flag = "--" + name.replace("_", "-")
            raise ValueError(
                f"expected the options that {args.out} was begun with, {flag} {notes[name]}, got {given[name]}"
            )
    notes.update({name: given[name] for name in given.keys() & may_differ})
    task = ImageTask.restore(checkpoint, _load(notes), device)
    return Trainer.resume(args.out, checkpoint, task, group=group)


def _load(notes: Mapping[str, Any]) -> Splits:
    from spatial_lstm.image_models.data import load

    ways = ("seed", "color", "gray", "binarize", "validation", "test")
    known = {**DATA, **notes}
    with told_in_notes():
        splits = load(known["data"], **{name: known[name] for name in ways})
    return splits if known["limit"] is None else splits.limited(known["limit"])


def _nothing(*_: object) -> None:
    """What processes but the first say."""
