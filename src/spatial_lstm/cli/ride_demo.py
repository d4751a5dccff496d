"""Compare all backends with the reference, train a small RIDE on dead leaves, score it beside an MCGSM, and draw what it imagines."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spatial_lstm.cli.check import print_table
from spatial_lstm.cli.train_ride import tell_interrupted

if TYPE_CHECKING:
    from tqdm import tqdm

    from spatial_lstm.image_models import ImageModel
    from spatial_lstm.image_models.data import Splits

PICTURE, RUN, DATA = "ride.png", "ride", "deadleaves"
COMPONENTS, FEATURES, HIDDEN = 16, 16, 64
MCGSM_STEPS, LEAST_STEPS, MOST_STEPS, BATCH = 1500, 500, 6000, 16
TRAINING_SHARE = 0.7  # of the time; the rest goes to the MCGSM, the scores and the picture
SHOWN, WHOLE, HOLE = 128, 64, 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--seconds", type=float, default=120.0, help="to take, about (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="of data, weights and samples (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder to write into (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Print the table of equality, then run :func:`demo`; 1 if a backend falls short, 2 if the options are not usable."""
    if not args.seconds > 0 or args.seed < 0:
        print(f"ride: expected seconds > 0 and seed >= 0, got {args.seconds:g} and {args.seed}", file=sys.stderr)
        return 2
    equal = print_table()
    print()
    return demo(args.out, args.seconds, args.seed) or (0 if equal else 1)


def demo(out: Path, seconds: float = 120.0, seed: int = 0) -> int:
    """Train, score, draw; return 0, or 130 if interrupted.

    Args:
        out: Folder for ``ride.png`` and the run's folder ``ride``, which ``train-ride --resume`` continues.
        seconds: To take in all, about; decides how many steps are made.
        seed: Of everything random.
    """
    try:
        _demo(out, seconds, seed)
    except KeyboardInterrupt:
        return tell_interrupted(out / RUN)
    return 0


def _demo(out: Path, seconds: float, seed: int) -> None:
    import matplotlib  # noqa: F401  rather missed now than after training
    import torch

    from spatial_lstm.image_models import RIDE, MCGSMImage
    from spatial_lstm.image_models.data import NAMES
    from spatial_lstm.training import Options, Trainer, adam, step_seconds

    splits = NAMES[DATA](seed, False)
    sides = "x".join(map(str, splits.train[0].shape[1:]))
    print(f"dead leaves, {len(splits.train)} images of {sides} to train on, {len(splits.test)} held out")
    options = Options(seed=seed, clip=1.0, validation_tiles=16, checkpoint_seconds=20)
    torch.manual_seed(seed)
    baseline = Trainer(
        MCGSMImage(components=COMPONENTS, features=FEATURES),
        splits,
        adam(MCGSM_STEPS, batch=BATCH),
        options=options,
        label="MCGSM",
    )
    baseline.run()
    torch.manual_seed(seed)
    model = RIDE(hidden_size=HIDDEN, components=COMPONENTS, features=FEATURES)
    paces = {}
    for threads in {torch.get_num_threads(), 1}:  # on a busy machine one is faster than many
        torch.set_num_threads(threads)
        paces[threads] = min(step_seconds(model, splits, adam(1, batch=BATCH)[0], options) for _ in range(2))
    threads, pace = min(paces.items(), key=lambda item: item[1])
    torch.set_num_threads(threads)
    steps = min(MOST_STEPS, max(LEAST_STEPS, int(seconds * TRAINING_SHARE / pace)))
    notes = {"data": DATA, "seed": seed, "color": False, "limit": None}
    trainer = Trainer(
        model, splits, adam(steps, batch=BATCH), folder=out / RUN, options=options, notes=notes, label="RIDE "
    )
    trainer.run()
    held_out = trainer.tiles("test")
    scores = {"MCGSM": baseline.bits(held_out), "RIDE": trainer.bits(held_out)}
    gain = scores["RIDE"] - scores["MCGSM"]
    print(f"\nlog-likelihood of {len(splits.test)} held-out images, bits per pixel, higher is better")
    for name, bits in scores.items():
        print(f"  {name:6s}{bits:7.3f}")
    print(f"  {'gain':6s}{gain:+7.3f}   {steps} steps; both with {COMPONENTS} components on 5x5 neighbourhoods")
    picture = out / PICTURE
    _draw(
        picture, trainer.model, splits, seed, f"RIDE {scores['RIDE']:.3f}, MCGSM {scores['MCGSM']:.3f} bits per pixel"
    )
    print(f"wrote {picture} (data, samples, a hole before and after) and {out / RUN} (weights, metrics)")


def _draw(path: Path, model: ImageModel, splits: Splits, seed: int, title: str) -> None:
    """Two rows: held-out data and two samples; an image with a hole, the hole filled, and what was there."""
    import torch
    from tqdm import tqdm

    from spatial_lstm.image_models import RIDE
    from spatial_lstm.training import pictures

    if not isinstance(model, RIDE):
        raise TypeError(f"expected a RIDE, got {type(model).__name__}")
    generator = torch.Generator().manual_seed(seed)
    data = splits.test[0][:, :SHOWN, :SHOWN]
    with tqdm(desc="samples", unit="step", leave=False) as bar:
        samples = model.sample(
            SHOWN, SHOWN, 2, generator=generator, progress=lambda done, total: _tell(bar, done, total)
        )
    whole = splits.test[2][None, :, :WHOLE, :WHOLE]
    mask = pictures.centered_hole(WHOLE, WHOLE, HOLE)
    with tqdm(desc="hole", unit="step", leave=False) as bar:
        filled = model.inpaint(
            whole,
            mask,
            generator=generator,
            gibbs_sweeps=pictures.SWEEPS,
            progress=lambda done, total: _tell(bar, done, total),
        )
    shown = {
        "data, held out": data,
        "sample": samples[0],
        "another sample": samples[1],
        "a hole": pictures.with_hole(whole, mask)[0],
        "filled": filled[0],
        "what was there": whole[0],
    }
    pictures.panels(path, shown, columns=3, title=title)


def _tell(bar: tqdm[Any], done: int, total: int) -> None:
    """Move a bar."""
    bar.total = total
    bar.update(done - bar.n)
