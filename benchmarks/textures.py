"""RIDE on textures: samples beside the data.

    python -m benchmarks.textures [--steps N] [--threads 1]

Brick, grass and gravel ship with scikit-image; of each picture six eighths are trained on and the last is scored. A model of 64 hidden
units is trained on each, and what it draws stands beside crops of the data in ``benchmarks/results/textures.png``; likelihoods are kept in
``benchmarks/results/textures.json``. Training runs live in ``out/textures`` and go on where they were interrupted.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch

from benchmarks.harness import Row, markdown_table, write_results
from benchmarks.harness.training import trained
from spatial_lstm.image_models import RIDE
from spatial_lstm.image_models.data import Splits, load
from spatial_lstm.image_models.training import ImageTask, adam
from spatial_lstm.image_models.training.pictures import image_rows
from spatial_lstm.training import Options

RESULTS = Path(__file__).parent / "results"
RUNS = Path("out/textures")
NAMES = ("brick", "grass", "gravel")
HIDDEN, COMPONENTS, FEATURES = 64, 32, 32
OPTIONS = Options(clip=1.0, validate_every=500)
# Side of the samples, in pixels, and how many of them.
SIDE, SAMPLES = 128, 1


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = [
        [row["model"], f"{row['bits_per_pixel']:.3f}", f"{row['steps']:,}", f"{row['seconds']:.0f}"] for row in rows
    ]
    return markdown_table(["texture", "bits per pixel, 64x64 tiles", "steps", "seconds of one thread"], lines)


def new_task(splits: Splits) -> ImageTask:
    """An untrained model."""
    torch.manual_seed(0)
    return ImageTask(RIDE(hidden_size=HIDDEN, components=COMPONENTS, features=FEATURES), splits)


def main() -> None:
    """Train, score, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows: list[Row] = []
    pictures = {}
    for name in NAMES:
        splits = load(name)
        restore = partial(ImageTask.restore, splits=splits)
        run = trained(RUNS / name, partial(new_task, splits), restore, adam(args.steps), OPTIONS)
        bits = run.task.bits(run.task.tiles("test"))
        rows.append({"model": name, "bits_per_pixel": bits, "steps": run.state.total, "seconds": run.state.seconds})
        generator = torch.Generator().manual_seed(0)
        samples = list(run.task.model.sample(SIDE, SIDE, SAMPLES, generator=generator))
        crops = [splits.train[0][:, :SIDE, start : start + SIDE] for start in range(0, SAMPLES * SIDE, SIDE)]
        pictures[f"{name}: data, then a sample"] = crops + samples
    write_results(RESULTS / "textures.json", "textures", rows, quick=False)
    image_rows(RESULTS / "textures.png", pictures)
    print(table(rows))


if __name__ == "__main__":
    main()
