"""PixelRNN on binary MNIST, beside the published figures of van den Oord, Kalchbrenner & Kavukcuoglu, 2016.

    python -m benchmarks.mnist --data PATH [--models NAME ..] [--binarize sample threshold] [--seeds 0] [--steps N] [--threads 1]

PATH is a folder with MNIST's IDX files. 50,000 images are trained on, 10,000 are for validation, and the 10,000 test images are scored:
nats per image, lower is better. Pixels are made binary by drawing each once by its gray value, as in the published file (which is another
draw), or by a threshold, which leaves less to be known. Training runs live in ``out/mnist`` and go on where they were interrupted; figures
are kept in ``benchmarks/results/mnist.json``, samples as pictures beside them. Core hours are of all cores' CPU time.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import Row, kept_rows, markdown_table, write_results
from benchmarks.harness.training import trained
from spatial_lstm.image_models import ImageModel, PixelRNN
from spatial_lstm.image_models.data import Splits, load
from spatial_lstm.image_models.training import ImageOptions, ImageStage, ImageTask
from spatial_lstm.image_models.training.pictures import image_rows
from spatial_lstm.training import Options

RESULTS = Path(__file__).parent / "results"
RUNS = Path("out/mnist")
MODELS: dict[str, dict[str, Any]] = {
    "Diagonal BiLSTM, 1 layer of 32": {"hidden_size": 32},
    "Diagonal BiLSTM, 7 layers of 16": {"hidden_size": 16, "num_layers": 7},
    "Row LSTM, 1 layer of 32": {"hidden_size": 32, "variant": "row"},
}
# From memory, unchecked; of the published binary images.
PUBLISHED = {"Diagonal BiLSTM, 1 layer of 32": 80.75, "Diagonal BiLSTM, 7 layers of 16": 79.20}
BATCH, RATE, FINAL_RATE, WARMUP = 16, 5e-3, 5e-5, 200
SHOWN = 16


def stages(steps: int, side: int) -> list[ImageStage]:
    """Adam on whole images of this side, no mirror images."""
    return [
        ImageStage(
            optimizer="adam",
            rate=RATE,
            final_rate=FINAL_RATE,
            batch=BATCH,
            steps=steps,
            warmup=min(WARMUP, steps // 10),
            patch=side,
            mirror=False,
        )
    ]


@torch.no_grad()
def score(model: ImageModel, splits: Splits) -> dict[str, float]:
    """Nats per test image, with the standard error over images."""
    images = torch.stack(splits.test)
    nats = torch.cat([-model.log_prob(batch).nats for batch in images.split(50)]).double()
    return {"nats_per_image": float(nats.mean()), "standard_error": float(nats.std()) / math.sqrt(len(nats))}


def draw(path: Path, model: ImageModel, splits: Splits) -> None:
    """Samples under images of the data."""
    height, width = splits.test[0].shape[1:]
    samples = model.sample(height, width, 2 * SHOWN, generator=torch.Generator().manual_seed(0))
    rows = {"data": splits.test[:SHOWN], "samples": list(samples[:SHOWN]), "more samples": list(samples[SHOWN:])}
    image_rows(path, rows)


def table(rows: list[Row]) -> str:
    """Markdown: nats per image by model and binarization."""
    lines = []
    for key in dict.fromkeys((row["model"], row["binarize"], row["steps"]) for row in rows):
        name, binarize, _ = key
        own = [row for row in rows if (row["model"], row["binarize"], row["steps"]) == key]
        nats = statistics.fmean(row["nats_per_image"] for row in own)
        published = f"{PUBLISHED[name]:.2f}" if binarize == "sample" and name in PUBLISHED else ""
        hours = statistics.fmean(row["seconds"] for row in own) / 3600
        figures = [f"{own[0][key]:,}" for key in ("parameters", "steps")]
        error = own[0]["standard_error"]
        lines.append([name, binarize, f"{nats:.2f} ± {error:.2f}", published, *figures, f"{hours:.1f}", str(len(own))])
    head = ["model", "pixels", "nats per image", "published (unchecked)", "parameters", "steps", "core hours", "seeds"]
    return markdown_table(head, lines, left=2)


def run(name: str, binarize: str, seed: int, splits: Splits, steps: int) -> Row:
    """Train one model, or go on; score it, and draw."""
    torch.manual_seed(seed)
    model = PixelRNN(**MODELS[name])
    short = name.lower().replace(",", "").replace(" ", "-")
    folder = RUNS / f"{short}-{binarize}-{steps}-{seed}"
    options = Options(seed=seed, clip=1.0, validate_every=1000)
    trainer = trained(
        folder,
        lambda: ImageTask(model, splits, ImageOptions(validation_tiles=1000)),
        lambda checkpoint: ImageTask.restore(checkpoint, splits),
        stages(steps, splits.test[0].shape[1]),
        options,
        clock=time.process_time,
    )
    draw(RESULTS / f"mnist-{short}-{binarize}.png", trainer.task.model, splits)
    return {
        "model": name,
        "binarize": binarize,
        "seed": seed,
        **score(trainer.task.model, splits),
        "parameters": sum(p.numel() for p in trainer.task.model.parameters()),
        "steps": trainer.state.total,
        "seconds": trainer.state.seconds,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Train what is missing, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS), metavar="NAME")
    parser.add_argument("--binarize", nargs="+", choices=("sample", "threshold"), default=["sample"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    path = RESULTS / "mnist.json"
    rows = kept_rows(path)
    for binarize in args.binarize:
        splits = load(args.data, seed=0, binarize=binarize)
        for seed in args.seeds:
            for name in args.models:
                key = {"model": name, "binarize": binarize, "seed": seed, "steps": args.steps}
                if not any(key.items() <= row.items() for row in rows):
                    rows.append(run(name, binarize, seed, splits, args.steps))
                    write_results(path, "mnist", rows, quick=False)
    print(table(rows))


if __name__ == "__main__":
    main()
