"""Train a small four-direction network on handwritten digits and draw what it sees: ``python -m examples.digits``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from examples.digits.data import load_digits
from examples.digits.picture import draw
from examples.digits.task import DigitsTask
from spatial_lstm.training import LAST, Checkpoint, Options, Trainer, holds_run

PICTURE = "digits.png"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; return 0, 2 if the folder does not suit, 130 if interrupted."""
    parser = argparse.ArgumentParser(prog="python -m examples.digits", description=__doc__)
    parser.add_argument("--epochs", type=int, default=60, help="passes over the digits (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and split (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("out/digits"), help="folder to write into (default: %(default)s)"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--resume", action="store_true", help="continue what --out holds")
    what.add_argument("--overwrite", action="store_true", help="begin anew, and lose what --out holds")
    args = parser.parse_args(arguments)
    if args.epochs < 1:
        parser.error(f"expected at least one epoch, got {args.epochs}")
    # 8x8 images leave nothing to share out, and waiting for one another costs threads much on a busy machine.
    torch.set_num_threads(1)
    try:
        trainer = resumed(args.out) if args.resume else begun(args)
    except ValueError as error:
        print(f"digits: {error}", file=sys.stderr)
        return 2
    start = time.perf_counter()
    try:
        trainer.run()
    except KeyboardInterrupt:
        kept = (args.out / LAST).is_file()
        print("interrupted; " + ("--resume continues" if kept else "nothing is kept"), file=sys.stderr)
        return 130
    task = trainer.task
    right, parameters = task.accuracy(task.digits.test), sum(p.numel() for p in task.model.parameters())
    seconds = time.perf_counter() - start
    print(
        f"{right:.1%} of {len(task.digits.test)} held-out digits recognized, {parameters:,} parameters, {seconds:.0f} s"
    )
    draw(task, args.out / PICTURE)
    print(f"wrote {args.out / PICTURE} (inputs, answers, hidden states of the four directions), weights beside it")
    return 0


def begun(args: argparse.Namespace) -> Trainer[DigitsTask]:
    """A new run."""
    if holds_run(args.out) and not args.overwrite:
        raise ValueError(f"expected a folder without a run, got {args.out}: add --resume or --overwrite, or give --out")
    task = DigitsTask(load_digits(args.seed), args.seed)
    options = Options(seed=args.seed, validate_every=task.batches_of(0).per_epoch, clip=1.0, checkpoint_seconds=10)
    return Trainer(
        task, task.schedule(args.epochs), folder=args.out, overwrite=args.overwrite, options=options, label="digits"
    )


def resumed(folder: Path) -> Trainer[DigitsTask]:
    """The run that a folder holds."""
    checkpoint = Checkpoint.read(folder)
    task = DigitsTask.restore(checkpoint, load_digits(checkpoint.task.get("seed", 0)))
    return Trainer.resume(folder, checkpoint, task)


if __name__ == "__main__":
    raise SystemExit(main())
