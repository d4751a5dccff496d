"""What the commands that train do, whatever they train: begin or resume, in one process or several, and end."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from spatial_lstm.cli.errors import input_errors
from spatial_lstm.cli.runs import require, system_errors, tell_diverged, tell_interrupted

if TYPE_CHECKING:
    import torch

    from spatial_lstm.training import Checkpoint, Group, Options, Task, Trainer

T = TypeVar("T", bound="Task[Any, Any]")
Say = Callable[..., None]


@dataclass(frozen=True)
class Job(Generic[T]):
    """A command's own part of training.

    Attributes:
        begin: Makes the trainer of a new run.
        resume: Makes the trainer of the run in ``--out``.
        introduce: Tells what is trained on what, with the function it is given.
        keep: Tells and writes what a finished run leaves, given the number of threads; returns the exit status.
    """

    begin: Callable[[torch.device, Group], Trainer[T]]
    resume: Callable[[torch.device, Group], Trainer[T]]
    introduce: Callable[[Trainer[T], Say], None]
    keep: Callable[[Trainer[T], int], int]


def run_job(args: argparse.Namespace, job: Job[T]) -> int:
    """Train; 1 if training diverged, 130 if interrupted, else what the job says.

    Raises:
        UsageError: If the options, the data or the checkpoint are not usable, or the system refuses to write.
    """
    from spatial_lstm.training import DivergedError, group_from_environment, local_device

    if not args.no_pictures:
        require("matplotlib")
    with input_errors():
        device = local_device(args.device)
    try:
        with system_errors(args.command, args.out), group_from_environment(device) as group:
            with input_errors():
                trainer = (job.resume if args.resume else job.begin)(device, group)
                trainer.prepare()
            say = print if group.rank == 0 else _nothing
            job.introduce(trainer, say)
            threads = _choose_threads(trainer)
            say(f"writing to {args.out}, on {args.device}, threads: {threads}")
            trainer.run()
            return job.keep(trainer, threads) if group.rank == 0 else 0
    except DivergedError as error:
        return tell_diverged(args.command, error)
    except KeyboardInterrupt:
        return tell_interrupted(args.command, args.out)


def refuse_run(args: argparse.Namespace) -> None:
    """Refuse to lose a run.

    Raises:
        ValueError: If ``--out`` holds one and ``--overwrite`` was not given.
    """
    from spatial_lstm.training import holds_run

    if not args.overwrite and holds_run(args.out):
        how = "add --resume to continue it or --overwrite to lose it, or choose another --out"
        raise ValueError(f"expected a folder without a run, got {args.out}: {how}")


def options_of(chosen: argparse.Namespace, *, clip: float) -> Options:
    """How to train, by the options that were chosen."""
    from spatial_lstm.training import Options

    names = ("seed", "validate_every", "patience", "checkpoint_seconds", "autocast")
    return Options(**{name: getattr(chosen, name) for name in names}, clip=clip)


def resumed_notes(
    args: argparse.Namespace, checkpoint: Checkpoint, given: Mapping[str, Any], may_differ: Collection[str]
) -> dict[str, Any]:
    """The options of a run, with those given now that may be other ones.

    Raises:
        ValueError: If another command began it, or it was begun with other options.
    """
    notes = checkpoint.notes
    begun_by = notes.get("command", "train-ride")  # older runs do not say
    if begun_by != args.command:
        raise ValueError(f"expected a run of {args.command} in {args.out}, got one of {begun_by}")
    for name in notes.keys() & given.keys() - set(may_differ):
        if given[name] != notes[name]:
            flag = "--" + name.replace("_", "-")
            raise ValueError(
                f"expected the options that {args.out} was begun with, {flag} {notes[name]}, got {given[name]}"
            )
    notes.update({name: given[name] for name in given.keys() & set(may_differ)})
    return notes


def _choose_threads(trainer: Trainer[Any]) -> int:
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


def _nothing(*_: object) -> None:
    """What processes but the first say."""
