"""Compare all backends with the reference, then train a small four-direction network on handwritten digits and draw what it sees."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from spatial_lstm.cli.check import print_table

CHECKPOINT, PICTURE = "digits.pt", "digits.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--epochs", type=int, default=45, help="passes over the digits (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and split (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder to write into (default: %(default)s)")
    parser.add_argument("--resume", action="store_true", help=f"continue from the folder's {CHECKPOINT}")


def run(args: argparse.Namespace) -> int:
    """Train; 1 if a backend differs from the reference, 2 if the options or the checkpoint are not usable."""
    from tqdm import tqdm

    from spatial_lstm.digits import Run, draw, load_digits

    checkpoint, picture = args.out / CHECKPOINT, args.out / PICTURE
    if args.epochs < 1:
        print(f"digits: expected at least one epoch, got {args.epochs}", file=sys.stderr)
        return 2
    try:
        job = Run.load(checkpoint) if args.resume else Run(args.epochs, args.seed, load_digits(args.seed))
    except ValueError as error:
        print(f"digits: {error}", file=sys.stderr)
        return 2
    torch.set_num_threads(
        1
    )  # 8x8 images leave nothing to share out, and waiting for one another costs threads much on a busy machine
    equal = print_table()
    print()
    start, done = time.perf_counter(), len(job.history)
    with tqdm(total=job.epochs * job.batches, initial=done * job.batches, desc="digits", unit="batch") as bar:
        for _ in range(done, job.epochs):
            try:
                job.epoch(bar)
            except KeyboardInterrupt:
                bar.close()
                print(
                    "finished epochs are kept: --resume continues" if job.history else "no epoch was finished",
                    file=sys.stderr,
                )
                raise
            job.save(checkpoint)
    parameters = sum(p.numel() for p in job.network.parameters())
    print(
        f"{job.history[-1][1]:.1%} of {len(job.digits.held_out_labels)} held-out digits recognised, {parameters:,} parameters, "
        f"{time.perf_counter() - start:.0f} s"
    )
    draw(job, picture)
    print(f"wrote {picture} (inputs, answers, hidden states of the four directions) and {checkpoint} (--resume)")
    return 0 if equal else 1
