"""Train a reader of handwriting on lines or pages with their texts: what one hand has written, from some hundred lines on.

For example: train-htr --data charters --minutes 60 --out out/charters
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from spatial_lstm.cli.errors import input_errors
from spatial_lstm.cli.htr_data import Given, fit_notes, given_parts
from spatial_lstm.cli.htr_met import met, met_notes
from spatial_lstm.cli.htr_options import DEFAULTS, NAMES, NETWORK, add_options, augmentation, check_options, stages
from spatial_lstm.cli.htr_results import keep, spread
from spatial_lstm.cli.models import refuse_existing
from spatial_lstm.cli.options import MAY_DIFFER, PATHS, given_options
from spatial_lstm.cli.runs import require
from spatial_lstm.cli.training import Job, Say, options_of, refuse_run, resumed_notes, run_job

if TYPE_CHECKING:
    import torch

    from spatial_lstm.handwriting import LineReader
    from spatial_lstm.handwriting.data import Lines
    from spatial_lstm.handwriting.training import HandwritingTask
    from spatial_lstm.training import Group, Trainer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Train; 1 if training diverged, 130 if interrupted.

    Raises:
        UsageError: If the options, the lines or the checkpoint are not usable.
    """
    require("rapidfuzz", "PIL")
    if args.show_augmented is not None:
        return _show_augmented(args)
    found: list[Given] = []

    def begin(device: torch.device, group: Group) -> Trainer[HandwritingTask]:
        return _begun(args, found, device, group)

    def resume(device: torch.device, group: Group) -> Trainer[HandwritingTask]:
        return _resumed(args, found, device, group)

    def finish(trainer: Trainer[HandwritingTask], threads: int) -> int:
        return keep(trainer, found[0], args.out, threads=threads, pictures=not args.no_pictures)

    return run_job(args, Job(begin, resume, lambda trainer, say: _introduce(trainer, found[0], say), finish))


def _chosen(args: argparse.Namespace) -> argparse.Namespace:
    """All options, checked.

    Raises:
        ValueError: If some do not go together.
    """
    given = given_options(args, DEFAULTS, names=NAMES)
    chosen = argparse.Namespace(**{**DEFAULTS, **given})
    check_options(chosen, given)
    return chosen


def _begun(
    args: argparse.Namespace, found: list[Given], device: torch.device, group: Group
) -> Trainer[HandwritingTask]:
    import torch

    from spatial_lstm.handwriting.training import HandwritingTask
    from spatial_lstm.training import Trainer

    refuse_run(args)
    chosen = _chosen(args)
    changed, schedule = augmentation(chosen), stages(chosen)
    loaded = _loaded(chosen)
    given = given_parts(vars(chosen), height=chosen.height)
    found.append(given)
    torch.manual_seed(chosen.seed)
    reader = _reader(chosen, loaded, given.parts.train)
    given.notes += fit_notes(given.parts, reader.codec, reader.model)
    chosen.validate_every = chosen.validate_every or -(-len(given.parts.train) // chosen.batch)
    before: frozenset[str] = frozenset() if loaded is None else met(loaded.record)["train"]
    task = HandwritingTask(reader.model.to(device), reader.codec, given.parts, changed, met_before=before)
    given.notes += met_notes(task)
    return Trainer(
        task,
        schedule,
        folder=args.out,
        overwrite=args.overwrite,
        options=options_of(chosen, clip=1.0),
        group=group,
        notes={**vars(chosen), "command": args.command},
    )


def _resumed(
    args: argparse.Namespace, found: list[Given], device: torch.device, group: Group
) -> Trainer[HandwritingTask]:
    from spatial_lstm.handwriting.training import HandwritingTask
    from spatial_lstm.training import Checkpoint, Trainer

    checkpoint = Checkpoint.read(args.out)
    # A folder may have been moved: the lines in it tell whether it is the same.
    given = given_options(args, DEFAULTS, names=NAMES)
    notes = resumed_notes(args, checkpoint, given, MAY_DIFFER | {*PATHS, "digits"})
    again = given_parts(notes, height=notes["height"])
    found.append(again)
    task = HandwritingTask.restore(checkpoint, again.parts, device)
    again.notes += fit_notes(again.parts, task.codec, task.model) + met_notes(task)
    return Trainer.resume(args.out, checkpoint, task, group=group)


def _loaded(chosen: argparse.Namespace) -> LineReader | None:
    """The model to go on from, whose network and form the run takes."""
    from spatial_lstm.handwriting import LineReader

    if chosen.load is None:
        return None
    loaded = LineReader.load(chosen.load)
    network = loaded.model.config()
    vars(chosen).update({name: network[name] for name in NETWORK}, form=loaded.codec.form)
    return loaded


def _reader(chosen: argparse.Namespace, loaded: LineReader | None, lines: Lines) -> LineReader:
    """What is trained: a new network for the characters of the lines, or the loaded one with those that it lacks."""
    from spatial_lstm.handwriting import Codec, HandwritingRecognizer, LineReader

    if loaded is not None:
        codec = loaded.codec.extended(lines.texts())
        return LineReader(loaded.model.grown(codec.classes), codec)
    codec = Codec.of_texts(lines.texts(), form=chosen.form)
    options: Mapping[str, Any] = {name: getattr(chosen, name) for name in NETWORK}
    return LineReader(HandwritingRecognizer(codec.classes, **options), codec)


def _introduce(trainer: Trainer[HandwritingTask], given: Given, say: Say) -> None:
    task = trainer.task
    for text in given.told():
        say(text)
    parameters = sum(p.numel() for p in task.model.parameters())
    counts = ", ".join(f"{len(getattr(task.parts, part))} {part}" for part in ("train", "validation", "test"))
    say(f"a network of {parameters:,} parameters for {len(task.codec.characters)} characters; lines: {counts}")


def _show_augmented(args: argparse.Namespace) -> int:
    """Draw some lines as training sees them."""
    from spatial_lstm.handwriting.training.pictures import draw_augmented

    require("matplotlib")
    with input_errors():
        if args.show_augmented.suffix.lower() != ".png":
            raise ValueError(f"expected --show-augmented to be a .png file, got {args.show_augmented}")
        refuse_existing(args.show_augmented, args.overwrite, "--show-augmented")
        chosen = _chosen(args)
        changed = augmentation(chosen)
        if changed is None:
            raise ValueError("expected --augment with --show-augmented, got --no-augment")
        _loaded(chosen)
        lines = given_parts(vars(chosen), height=chosen.height).parts.train
        draw_augmented(args.show_augmented, spread(lines, 6), changed, height=chosen.height, seed=chosen.seed)
    print(f"wrote {args.show_augmented}: each line as it is, and three times as training sees it")
    return 0
