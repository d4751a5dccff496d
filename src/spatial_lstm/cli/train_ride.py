"""Train RIDE, the generative image model, on dead leaves, textures, photographs or a folder of pictures; see it sample and fill holes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spatial_lstm.cli.errors import input_errors
from spatial_lstm.cli.ride_options import DATA, DEFAULTS, add_options, given_options, make_model, make_stages
from spatial_lstm.cli.runs import require_matplotlib, tell_diverged, tell_interrupted

if TYPE_CHECKING:
    import torch

    from spatial_lstm.image_models.data import Splits
    from spatial_lstm.image_models.training import ImageTask
    from spatial_lstm.training import Group, Trainer

# Images in each row of the pictures.
SHOWN = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_options(parser)
    group = parser.add_argument_group("where")
    group.add_argument("--out", type=Path, default=Path("out/ride"), help="folder to write into (default: %(default)s)")
    what = group.add_mutually_exclusive_group()
    what.add_argument("--resume", action="store_true", help="continue what --out holds, with the options it has")
    what.add_argument("--overwrite", action="store_true", help="begin anew, and lose a run that --out holds")
    group.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: %(default)s)")
    group.add_argument("--no-pictures", action="store_true", help="draw nothing in the end")


def run(args: argparse.Namespace) -> int:
    """Train; 1 if training diverged, 130 if interrupted.

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
                trainer = (_resumed if args.resume else _begun)(args, device, group)
                trainer.prepare()
            _train(args, trainer)
    except DivergedError as error:
        return tell_diverged(args.command, error)
    except KeyboardInterrupt:
        return tell_interrupted(args.out)
    return 0


def _train(args: argparse.Namespace, trainer: Trainer[ImageTask]) -> None:
    say = print if trainer.group.rank == 0 else _nothing
    model, splits = trainer.task.model, trainer.task.splits
    parameters = sum(p.numel() for p in model.parameters())
    counts = ", ".join(f"{len(splits.part(part))} {part}" for part in ("train", "validation", "test"))
    say(f"{type(model).__name__} with {parameters:,} parameters on {splits.name}: {counts} images")
    for note in splits.notes:
        say(note)
    say(f"writing to {args.out}")
    best = trainer.run()
    if trainer.group.rank:
        return
    test = trainer.task.bits(trainer.task.tiles("test"))
    say(f"bits per pixel (log-likelihood, higher is better): {best:.4f} validation, {test:.4f} test")
    _keep(args, trainer, test)


def _begun(args: argparse.Namespace, device: torch.device, group: Group) -> Trainer[ImageTask]:
    import torch

    from spatial_lstm.image_models.training import ImageTask
    from spatial_lstm.training import Options, Trainer, holds_run

    if not args.overwrite and holds_run(args.out):
        how = "add --resume to continue it or --overwrite to lose it, or choose another --out"
        raise ValueError(f"expected a folder without a run, got {args.out}: {how}")
    notes = {**DEFAULTS, **given_options(args)}
    splits = _load(notes)
    chosen = argparse.Namespace(**notes)
    options = Options(
        seed=chosen.seed,
        validate_every=chosen.validate_every,
        patience=chosen.patience,
        checkpoint_seconds=chosen.checkpoint_seconds,
        clip=1.0 if chosen.schedule == "adam" else 0.0,
        autocast=chosen.autocast,
    )
    torch.manual_seed(chosen.seed)
    task = ImageTask(make_model(chosen, splits.channels).to(device), splits)
    return Trainer(
        task, make_stages(chosen), folder=args.out, overwrite=args.overwrite, options=options, group=group, notes=notes
    )


def _resumed(args: argparse.Namespace, device: torch.device, group: Group) -> Trainer[ImageTask]:
    from spatial_lstm.image_models.training import ImageTask
    from spatial_lstm.training import Checkpoint, Trainer

    checkpoint = Checkpoint.read(args.out)
    notes, given = checkpoint.notes, given_options(args)
    # A folder may have been moved: what is in it tells whether it is the same, if the run has noted that.
    may_differ = {"data"} if "data" in checkpoint.task else set()
    for name in notes.keys() & given.keys() - may_differ:
        if given[name] != notes[name]:
            flag = "--" + name.replace("_", "-")
            raise ValueError(
                f"expected the options that {args.out} was begun with, {flag} {notes[name]}, got {given[name]}"
            )
    notes["data"] = given.get("data", notes["data"])
    task = ImageTask.restore(checkpoint, _load(notes), device)
    return Trainer.resume(args.out, checkpoint, task, group=group)


def _load(notes: dict[str, Any]) -> Splits:
    from spatial_lstm.image_models.data import load

    splits = load(notes["data"], seed=notes["seed"], color=notes["color"])
    return splits if notes["limit"] is None else splits.limited(notes["limit"])


def _keep(args: argparse.Namespace, trainer: Trainer[ImageTask], test: float) -> None:
    """Write what the run found: ``result.json`` and the pictures."""
    import json

    from spatial_lstm.files import write_atomically
    from spatial_lstm.training import BEST, METRICS

    notes = trainer.notes
    found = {
        "bits_per_pixel": {"validation": trainer.state.best, "test": test},
        "steps": trainer.state.total,
        **{name: notes[name] for name in DATA},
        "options": notes,
    }
    text = json.dumps(found, indent=1, allow_nan=False) + "\n"
    write_atomically(args.out / "result.json", lambda file: file.write(text.encode()))
    written = [BEST, METRICS, "result.json"]
    if not args.no_pictures:
        written += _draw(args.out, trainer)
    print(f"wrote {', '.join(written)} to {args.out}")


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


def _nothing(text: str) -> None:
    """What processes but the first say."""
