"""Compare all backends with the reference, train a small RIDE on dead leaves, score it beside an MCGSM, and draw what it imagines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from spatial_lstm.cli.check import print_table
from spatial_lstm.cli.errors import UsageError
from spatial_lstm.cli.numbers import non_negative_int, positive_float
from spatial_lstm.cli.options import path
from spatial_lstm.cli.runs import require, system_errors, tell_diverged, tell_interrupted

if TYPE_CHECKING:
    from spatial_lstm.image_models import ImageModel
    from spatial_lstm.image_models.data import Splits
    from spatial_lstm.image_models.training import ImageTask
    from spatial_lstm.training import Options, Trainer

PICTURE, DATA = "ride.png", "deadleaves"
# Sizes at which two minutes on one core show a gain: of the mixture, its gates, and the hidden state.
COMPONENTS, FEATURES, HIDDEN = 16, 16, 64
# The MCGSM gains little after so many steps; RIDE gets as many as fit the time, within bounds.
MCGSM_STEPS, LEAST_STEPS, MOST_STEPS, BATCH = 1500, 500, 6000, 16
# Of the time; the rest goes to the MCGSM, the scores and the picture.
TRAINING_SHARE = 0.7
# Sides, in pixels, of samples, of the image with the hole, and of the hole.
SHOWN, WHOLE, HOLE = 128, 64, 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--seconds", type=positive_float, default=120.0, help="to take, about (default: %(default)g)")
    parser.add_argument(
        "--seed", type=non_negative_int, default=0, help="of data, weights and samples (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=path, default=Path("out/ride-demo"), help="folder to write into (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the table of equality, then run :func:`demo`; 1 if a backend falls short or training diverged.

    Raises:
        UsageError: If the folder holds a run that is not a demonstration's.
    """
    refuse_other_runs(args.out)
    equal = print_table()
    print()
    return demo(args.out, args.seconds, args.seed) or (0 if equal else 1)


def refuse_other_runs(folder: Path) -> None:
    """Raise a :class:`UsageError` if a folder holds a run that no demonstration left there."""
    from spatial_lstm.training import Checkpoint, holds_run

    if not holds_run(folder):
        return
    try:
        left_by_demo = Checkpoint.read(folder).notes.get("demo", False)
    except ValueError:
        left_by_demo = False
    if not left_by_demo:
        raise UsageError(
            f"expected {folder} to be empty or to hold an earlier demonstration, got another run: give --out"
        )


def demo(out: Path, seconds: float = 120.0, seed: int = 0) -> int:
    """Train, score, draw; return 0, 1 if training diverged, or 130 if interrupted.

    Args:
        out: Folder of the run, which ``train-ride --resume`` continues, and of ``ride.png``; an earlier demonstration there is lost.
        seconds: To take in all, about; decides how many steps are made.
        seed: Of everything random.
    """
    from spatial_lstm.training import DivergedError

    require("matplotlib")
    refuse_other_runs(out)
    try:
        with system_errors("train-ride", out):
            _demo(out, seconds, seed)
    except DivergedError as error:
        return tell_diverged("ride", error)
    except KeyboardInterrupt:
        return tell_interrupted("train-ride", out)
    return 0


def _demo(out: Path, seconds: float, seed: int) -> None:
    from spatial_lstm.image_models.data import load
    from spatial_lstm.image_models.units import DENSITY
    from spatial_lstm.training import Options, set_threads

    splits = load(DATA, seed=seed)
    sides = "x".join(map(str, splits.train[0].shape[1:]))
    print(f"dead leaves, {len(splits.train)} images of {sides} to train on, {len(splits.test)} held out")
    options = Options(seed=seed, clip=1.0, checkpoint_seconds=20)
    set_threads(None, lambda: _pace(splits, seed, steps=5))
    baseline = _train_mcgsm(splits, options)
    trainer = _train_ride(splits, options, out, seconds)
    held_out = trainer.task.tiles("test")
    scores = {"MCGSM": baseline.bits(held_out), "RIDE": trainer.task.bits(held_out)}
    gain = scores["RIDE"] - scores["MCGSM"]
    print(f"\n{len(splits.test)} held-out images, {DENSITY}")
    for name, bits in scores.items():
        print(f"  {name:6s}{bits:7.3f}")
    print(
        f"  {'gain':6s}{gain:+7.3f}   {trainer.state.total} steps; {COMPONENTS} components and 5x5 neighborhoods in both"
    )
    title = f"RIDE {scores['RIDE']:.3f}, MCGSM {scores['MCGSM']:.3f} bits per pixel"
    _draw(out / PICTURE, trainer.task.model, splits, seed, title)
    print(f"wrote {out / PICTURE} (data, samples, a hole before and after), weights and metrics beside it")


def _pace(splits: Splits, seed: int, steps: int) -> float:
    """Seconds that a step of RIDE takes."""
    from spatial_lstm.image_models.training import adam
    from spatial_lstm.training import step_seconds

    return step_seconds(_ride(splits, seed), adam(1, batch=BATCH)[0], steps=steps)


def _ride(splits: Splits, seed: int) -> ImageTask:
    """RIDE, to be trained."""
    import torch

    from spatial_lstm.image_models import RIDE
    from spatial_lstm.image_models.training import ImageOptions, ImageTask

    torch.manual_seed(seed)
    model = RIDE(hidden_size=HIDDEN, components=COMPONENTS, features=FEATURES)
    return ImageTask(model, splits, ImageOptions(validation_tiles=16))


def _train_mcgsm(splits: Splits, options: Options) -> ImageTask:
    """The model without recurrence, trained."""
    import torch

    from spatial_lstm.image_models import MCGSMImage
    from spatial_lstm.image_models.training import ImageOptions, ImageTask, adam
    from spatial_lstm.training import Trainer

    torch.manual_seed(options.seed)
    model = MCGSMImage(components=COMPONENTS, features=FEATURES)
    task = ImageTask(model, splits, ImageOptions(validation_tiles=16))
    print(f"training an MCGSM, {MCGSM_STEPS} steps")
    Trainer(task, adam(MCGSM_STEPS, batch=BATCH), options=options, label="MCGSM").run()
    return task


def _train_ride(splits: Splits, options: Options, folder: Path, seconds: float) -> Trainer[ImageTask]:
    """RIDE, trained for as many steps as the time allows."""
    from spatial_lstm.image_models.training import adam
    from spatial_lstm.training import Trainer

    pace = min(_pace(splits, options.seed, steps=20) for _ in range(2))
    steps = min(MOST_STEPS, max(LEAST_STEPS, int(seconds * TRAINING_SHARE / pace)))
    print(f"training RIDE, {steps} steps of {1000 * pace:.0f} ms")
    notes = {"data": DATA, "seed": options.seed, "color": False, "limit": None, "demo": True}
    stages = adam(steps, batch=BATCH)
    trainer = Trainer(
        _ride(splits, options.seed),
        stages,
        folder=folder,
        overwrite=True,
        options=options,
        notes=notes,
        label="RIDE ",
    )
    trainer.run()
    return trainer


def _draw(path: Path, model: ImageModel, splits: Splits, seed: int, title: str) -> None:
    """Two rows: held-out data and two samples; an image with a hole, the hole filled, and what was there."""
    import torch

    from spatial_lstm.image_models import RIDE
    from spatial_lstm.image_models.training import pictures
    from spatial_lstm.training import Bar

    if not isinstance(model, RIDE):
        raise TypeError(f"expected a RIDE, got {type(model).__name__}")
    generator = torch.Generator().manual_seed(seed)
    data = splits.test[0][:, :SHOWN, :SHOWN]
    with Bar(label="samples", leave=False) as bar:
        samples = model.sample(SHOWN, SHOWN, 2, generator=generator, progress=bar.move_to)
    whole = splits.test[2][None, :, :WHOLE, :WHOLE]
    mask = pictures.centered_hole(WHOLE, WHOLE, HOLE)
    with Bar(label="hole", leave=False) as bar:
        filled = model.inpaint(whole, mask, generator=generator, progress=bar.move_to)
    shown = {
        "data, held out": data,
        "sample": samples[0],
        "another sample": samples[1],
        "a hole": pictures.with_hole(whole, mask)[0],
        "filled": filled[0],
        "what was there": whole[0],
    }
    pictures.panels(path, shown, columns=3, title=title)
