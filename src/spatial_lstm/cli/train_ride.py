"""Train RIDE, the generative image model, on dead leaves, textures, photographs or a folder of pictures; see it sample and fill holes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from spatial_lstm.image_models import ImageModel
    from spatial_lstm.image_models.data import Splits
    from spatial_lstm.training import Group, Stage, Trainer

STOPPED = 130  # the shell's status of what Ctrl-C ended
SHOWN = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        default="deadleaves",
        help="deadleaves, textures, brick, grass, gravel, photos, or a folder of PNG and JPEG files (default: %(default)s)",
    )
    data.add_argument("--color", action="store_true", help="three channels: luma first, then chroma")
    data.add_argument("--limit", type=int, metavar="N", help="at most N training images")
    model = parser.add_argument_group("model")
    model.add_argument("--hidden", type=int, default=64, help="features of the hidden state (default: %(default)s)")
    model.add_argument("--layers", type=int, default=1, help="(default: %(default)s)")
    model.add_argument("--greedy", action="store_true", help="add layers one by one, the schedule run for each")
    model.add_argument("--extended", action="store_true", help="let the cell states into the gates")
    model.add_argument("--multiscale", action="store_true", help="a coarse image first, then its details")
    model.add_argument(
        "--neighborhood", type=int, default=5, help="width of the causal window, odd (default: %(default)s)"
    )
    model.add_argument("--components", type=int, default=32, help="of the mixture (default: %(default)s)")
    model.add_argument("--scales", type=int, default=4, help="of each component (default: %(default)s)")
    model.add_argument("--features", type=int, default=32, help="of the mixture's gates (default: %(default)s)")
    schedule = parser.add_argument_group("schedule")
    schedule.add_argument(
        "--schedule", choices=("adam", "sgd"), default="adam", help="sgd: growing patches and L-BFGS, as published"
    )
    schedule.add_argument("--steps", type=int, default=4000, help="of Adam (default: %(default)s)")
    schedule.add_argument("--patch", type=int, default=22, help="side of Adam's patches (default: %(default)s)")
    schedule.add_argument("--rate", type=float, default=2e-2, help="Adam's, at its highest (default: %(default)s)")
    schedule.add_argument("--final-rate", type=float, default=5e-4, help="Adam's, at the end (default: %(default)s)")
    schedule.add_argument("--epochs", type=float, default=1.0, help="of each stage of sgd (default: %(default)s)")
    schedule.add_argument("--batch", type=int, help="patches a step (default: 20 with adam, 50 with sgd)")
    schedule.add_argument(
        "--finetune",
        type=int,
        metavar="N",
        help="L-BFGS iterations after each stage (default: 0 with adam, 500 with sgd)",
    )
    run_group = parser.add_argument_group("run")
    run_group.add_argument(
        "--out", type=Path, default=Path("out/ride"), help="folder to write into (default: %(default)s)"
    )
    run_group.add_argument(
        "--resume", action="store_true", help="continue what --out holds, with the options it was begun with"
    )
    run_group.add_argument(
        "--seed", type=int, default=0, help="of weights, data and their order (default: %(default)s)"
    )
    run_group.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: %(default)s)")
    run_group.add_argument("--autocast", action="store_true", help="compute the recurrence in bfloat16")
    run_group.add_argument("--validate-every", type=int, default=100, metavar="STEPS", help="(default: %(default)s)")
    run_group.add_argument(
        "--patience", type=int, default=0, help="validations without improvement that end a stage (default: never)"
    )
    run_group.add_argument(
        "--checkpoint-seconds", type=float, default=60.0, help="between checkpoints (default: %(default)s)"
    )
    run_group.add_argument("--no-pictures", action="store_true", help="draw nothing in the end")


def run(args: argparse.Namespace) -> int:
    """Train; 2 if the options, the data or the checkpoint are not usable, 1 if training diverged, 130 if interrupted."""
    from spatial_lstm.training import group_from_environment, local_device

    if not args.no_pictures:
        import matplotlib  # noqa: F401  rather missed now than after training

    try:
        device = local_device(args.device)
        with group_from_environment(device) as group:
            return _train(args, device, group)
    except (ValueError, ModuleNotFoundError) as error:
        print(f"train-ride: {error}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"train-ride: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return tell_interrupted(args.out)


def tell_interrupted(folder: Path) -> int:
    """Say what is kept in a run's folder and how to go on; return the exit status."""
    from spatial_lstm.training import LAST

    how = f"python -m spatial_lstm train-ride --resume --out {folder} continues from the last checkpoint"
    print(f"\ninterrupted; {how if (folder / LAST).is_file() else 'before the first checkpoint'}", file=sys.stderr)
    return STOPPED


def _train(args: argparse.Namespace, device: torch.device, group: Group) -> int:
    trainer = _resumed(args, device, group) if args.resume else _begun(args, device, group)
    say = print if group.rank == 0 else _nothing
    model, splits = trainer.model, trainer.splits
    parameters = sum(p.numel() for p in model.parameters())
    counts = ", ".join(f"{len(splits.part(part))} {part}" for part in ("train", "validation", "test"))
    say(
        f"{type(model).__name__} with {parameters:,} parameters on {splits.name}: {counts} images; writing to {args.out}"
    )
    best = trainer.run()
    if group.rank:
        return 0
    test = trainer.bits(trainer.tiles("test"))
    say(f"bits per pixel (log-likelihood, higher is better): {best:.4f} validation, {test:.4f} test")
    _keep(args, trainer, test)
    return 0


def _begun(args: argparse.Namespace, device: torch.device, group: Group) -> Trainer:
    import torch

    from spatial_lstm.training import LAST, Options, Trainer

    if (args.out / LAST).is_file():
        raise ValueError(
            f"expected a folder without a checkpoint, got {args.out}: add --resume, or choose another --out"
        )
    notes = {"data": str(args.data), "seed": args.seed, "color": args.color, "limit": args.limit}
    splits = _load(notes)
    torch.manual_seed(args.seed)
    options = Options(
        seed=args.seed,
        validate_every=args.validate_every,
        patience=args.patience,
        checkpoint_seconds=args.checkpoint_seconds,
        clip=1.0 if args.schedule == "adam" else 0.0,
        autocast=args.autocast,
    )
    model = _model(args, splits.channels).to(device)
    return Trainer(model, splits, _stages(args), folder=args.out, options=options, group=group, notes=notes)


def _resumed(args: argparse.Namespace, device: torch.device, group: Group) -> Trainer:
    from spatial_lstm.training import Trainer, read_notes

    return Trainer.resume(args.out, _load(read_notes(args.out)), device=device, group=group)


def _load(notes: dict[str, Any]) -> Splits:
    from spatial_lstm.image_models.data import load

    splits = load(notes["data"], seed=notes["seed"], color=notes["color"])
    return splits if notes["limit"] is None else splits.limited(notes["limit"])


def _model(args: argparse.Namespace, channels: int) -> ImageModel:
    from spatial_lstm.image_models import RIDE, ColorRIDE, MultiscaleRIDE

    if args.color and args.multiscale:
        raise ValueError("expected --color or --multiscale, got both")
    options = {
        "neighborhood": args.neighborhood,
        "hidden_size": args.hidden,
        "num_layers": 1 if args.greedy else args.layers,
        "extended": args.extended,
        "components": args.components,
        "scales": args.scales,
        "features": args.features,
    }
    if args.color:
        return ColorRIDE(**options)
    return MultiscaleRIDE(**options) if args.multiscale else RIDE(channels, **options)


def _stages(args: argparse.Namespace) -> list[Stage]:
    from spatial_lstm.training import adam, layer_by_layer, staged_sgd

    if args.schedule == "sgd":
        stages = staged_sgd(
            epochs=args.epochs,
            batch=50 if args.batch is None else args.batch,
            finetune=500 if args.finetune is None else args.finetune,
        )
    else:
        stages = adam(
            args.steps,
            patch=args.patch,
            rate=args.rate,
            final_rate=args.final_rate,
            batch=20 if args.batch is None else args.batch,
            finetune=args.finetune or 0,
        )
    return layer_by_layer(stages, args.layers) if args.greedy else stages


def _keep(args: argparse.Namespace, trainer: Trainer, test: float) -> None:
    """Write what the run found: ``result.json`` and the pictures."""
    import json

    from spatial_lstm.files import write_atomically
    from spatial_lstm.training import BEST, METRICS, evenly, read_metrics

    found = {
        "bits_per_pixel": {"validation": trainer.at.best, "test": test},
        "steps": trainer.at.total,
        **trainer.notes,
    }
    write_atomically(args.out / "result.json", lambda file: file.write((json.dumps(found, indent=1) + "\n").encode()))
    written = [BEST, METRICS, "result.json"]
    if not args.no_pictures:
        from spatial_lstm.training import pictures

        shown = evenly(trainer.tiles("test"), SHOWN).to(trainer.device)
        pictures.learning_curve(args.out / "curve.png", read_metrics(args.out / METRICS))
        pictures.draw_samples(args.out / "samples.png", trainer.model, shown, seed=args.seed)
        written += ["curve.png", "samples.png"]
        if pictures.draw_inpainting(args.out / "inpainting.png", trainer.model, shown, seed=args.seed):
            written.append("inpainting.png")
    print(f"wrote {', '.join(written)} to {args.out}")


def _nothing(text: str) -> None:
    """What processes but the first say."""
