"""Reading handwriting: errors against time and against lines, the cells, controls in the place of the two-dimensional layer, kraken.

    python -m benchmarks.handwriting --data FOLDER [--only default lines cells controls] [--minutes 5 20] [--seeds 0]
    python -m benchmarks.handwriting --data FOLDER --only kraken --ketos PATH [--epochs N] [--rates 0.001 0.002]

FOLDER is what ``train-htr --data`` takes. A model is trained as that does by default, but minutes are of one core's CPU time, so that a
busy machine gives the same figures; error rates are of the test lines, with 95 % intervals by bootstrap over pages: of the most probable
path, of the most probable text by a beam search, and of that with the character model of the training texts, whose weight the validation
lines choose. kraken is a program of its own, in an environment of its own; see :mod:`benchmarks.handwriting_kraken`. Training runs live in
``out/handwriting`` and go on where they were interrupted; figures are kept row by row in ``benchmarks/results/handwriting_<folder>.json``,
with a report and a plot beside them.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.handwriting_kraken import SPEC, kraken
from benchmarks.handwriting_report import DEFAULT, REGULARIZED, write_report
from benchmarks.harness import Row, kept_rows, write_results
from benchmarks.harness.training import trained
from spatial_lstm.handwriting import Codec, Evaluation, HandwritingRecognizer
from spatial_lstm.handwriting.data import Lines, Parts, divide, read_lines
from spatial_lstm.handwriting.training import Augmentation, HandwritingTask, adamw, with_language
from spatial_lstm.training import Options, Trainer

RESULTS = Path(__file__).parent / "results"
RUNS = Path("out/handwriting")
HEIGHT, BATCH = 48, 4


@dataclass(frozen=True)
class Variant:
    """What is trained.

    Attributes:
        options: Of the network.
        lines: To train on, drawn at random; None for all.
        augmentation: Of these.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    lines: int | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)


GROUPS: dict[str, dict[str, Variant]] = {
    "default": {DEFAULT: Variant()},
    "regularized": {
        REGULARIZED: Variant({"dropout": 0.2}, augmentation=Augmentation(warp=1.0, stroke=0.3, ink=0.2)),
    },
    "lines": {f"{count:,} lines": Variant(lines=count) for count in (250, 500, 1000)},
    "cells": {
        **{f'cell "{cell}"': Variant({"cell": cell}) for cell in ("spatial", "graves", "diagonal")},
        "one direction": Variant({"directions": "ff"}),
    },
    "controls": {
        "convolutions in its place": Variant({"architecture": "default-convolutions"}),
        "1-D layers in its place": Variant({"architecture": "default-sequences"}),
    },
}


def chosen(parts: Parts, variant: Variant, seed: int) -> Parts:
    """The parts with as many training lines as the variant has."""
    if variant.lines is None:
        return parts
    drawn = random.Random(seed).sample(range(len(parts.train)), min(variant.lines, len(parts.train)))
    return replace(parts, train=Lines(parts.train[place] for place in sorted(drawn)))


def train(folder: Path, parts: Parts, variant: Variant, minutes: float, seed: int) -> Trainer[HandwritingTask]:
    """Train one network, or go on."""

    def begin() -> HandwritingTask:
        torch.manual_seed(seed)
        codec = Codec.of_texts(parts.train.texts())
        model = HandwritingRecognizer(codec.classes, height=HEIGHT, **variant.options)
        return HandwritingTask(model, codec, parts, variant.augmentation)

    return trained(
        folder,
        begin,
        lambda checkpoint: HandwritingTask.restore(checkpoint, parts),
        adamw(minutes=minutes, batch=BATCH),
        Options(seed=seed, clip=1.0, validate_every=-(-len(parts.train) // BATCH)),
        clock=time.process_time,
    )


def run(data: str, name: str, variant: Variant, parts: Parts, minutes: float, seed: int) -> Row:
    """Train one network, or go on, and read the test lines."""
    folder = RUNS / data / f"{name.replace(' ', '-').replace(chr(34), '')}-{minutes:g}-{seed}"
    own = chosen(parts, variant, seed)
    trainer = train(folder, own, variant, minutes, seed)
    task = trainer.task
    reader = with_language(task)
    return {
        **rates(task.errors("test")),
        "validation_cer": task.errors("validation").total.cer,
        "with_beam": rates(task.errors("test", reader.beam_search())),
        "with_language": rates(task.errors("test", reader.beam_search(language=True))),
        "weighting": list(reader.weighting),
        "lines": len(own.train),
        "parameters": sum(p.numel() for p in task.model.parameters()),
        "steps": trainer.state.total,
        "epochs": trainer.state.total * BATCH / len(own.train),
        "cpu_minutes": trainer.state.seconds / 60,
    }


def rates(found: Evaluation) -> Row:
    """Error rates with their intervals."""
    intervals = {"cer_interval": list(found.cer_interval), "wer_interval": list(found.wer_interval)}
    return {"cer": found.total.cer, "wer": found.total.wer, **intervals}


def main() -> None:
    """Train what is missing, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=(*GROUPS, "kraken"), default=["default"])
    parser.add_argument("--minutes", type=float, nargs="+", default=[20.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--ketos", type=Path, help="kraken's command")
    parser.add_argument("--spec", default=SPEC, help="kraken's network (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=5, help="of kraken")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 2e-3], help="kraken's learning rates")
    args = parser.parse_args()
    if "kraken" in args.only and args.ketos is None:
        parser.error("expected --ketos, kraken's command, with --only kraken")
    torch.set_num_threads(1)
    data = args.data.resolve().name
    path = RESULTS / f"handwriting_{data}.json"
    rows = kept_rows(path)
    parts = divide(read_lines(args.data, height=HEIGHT)[0])
    wanted = {name: variant for group in args.only if group in GROUPS for name, variant in GROUPS[group].items()}

    def add(key: Row, found: Row) -> None:
        rows.append({**key, **found})
        write_results(path, "handwriting", rows, quick=False)
        print(f"{key}: CER {found['cer']:.2%}", flush=True)

    for key, variant in [
        ({"model": name, "minutes": minutes, "seed": seed}, variant)
        for minutes in args.minutes
        for seed in args.seeds
        for name, variant in wanted.items()
    ]:
        if not any(key.items() <= row.items() for row in rows):
            add(key, run(data, key["model"], variant, parts, key["minutes"], key["seed"]))
    for rate in args.rates if "kraken" in args.only else ():
        key = {"model": "kraken", "spec": args.spec, "rate": rate, "epochs": args.epochs}
        if not any(key.items() <= row.items() for row in rows):
            add(key, kraken(args.ketos, RUNS / data, parts, spec=args.spec, rate=rate, epochs=args.epochs))
    print(write_report(path))


if __name__ == "__main__":
    main()
