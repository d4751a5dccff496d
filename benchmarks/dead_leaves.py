"""RIDE and what it is compared with, on the same dead leaves: the table of Theis & Bethge, 2015, made anew on data anyone can generate.

    python -m benchmarks.dead_leaves [--budget minutes|hour|smaller|gpu] [--seeds 3] [--only NAME ..] [--threads 2]

Trains marginal, linear-Gaussian, MCGSM and RIDE models, each seed with its own images and weights, scores 64x64 tiles of held-out images
and keeps the figures in ``benchmarks/results/dead_leaves_<budget>.json``, row by row. The published images are not to be had and how they
were made is not recorded: only gaps between models can be compared with the paper's. With the budget ``smaller`` leaves of a radius of one
pixel are among them, where two are the least otherwise: what the gaps owe to the images. Ctrl-C keeps the rows that are done; a later call
goes on with those that are missing.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.harness import Row, markdown_table, read_results, write_results
from spatial_lstm.image_models import RIDE, Ensemble, ImageModel, LinearGaussian, MCGSMImage
from spatial_lstm.image_models.data import Splits, generated, noise_bound, tiles
from spatial_lstm.image_models.data.dead_leaves import LARGEST, SMALLEST
from spatial_lstm.image_models.training import ImageStage, ImageTask, adam, staged_sgd
from spatial_lstm.training import Options, Trainer

RESULTS = Path(__file__).parent / "results"
BASE = "MCGSM nb 5"
DEEPEST = 3
# Side of the patches that the deepest model goes on with, of the tiles that are scored; two have as many pixels as a batch before.
LARGE = 64
# Gaps to an MCGSM of 32 components that the paper's figures give; taken from notes, not checked against the paper.
PAPER = {"RIDE": 0.11, "RIDE 2 layers": 0.14, "RIDE 3 layers": 0.16, "ensemble": 0.21}


@dataclass(frozen=True)
class Budget:
    """How much of everything. ``steps`` are Adam's for one layer; with each further layer all are trained as long again."""

    images: int
    held_out: int
    side: int
    hidden: int
    components: int
    features: int
    steps: int
    mcgsm_steps: int
    batch: int
    patch: int
    rate: float
    device: str = "cpu"
    cell: str = "stable"
    smallest: float = SMALLEST  # radius of a leaf, in pixels


BUDGETS = {
    "minutes": Budget(400, 20, 128, 64, 16, 16, 4000, 3000, 16, 22, 2e-2),
    "hour": Budget(1000, 20, 128, 64, 32, 32, 20000, 5000, 16, 22, 2e-2),
    "smaller": Budget(400, 20, 128, 64, 16, 16, 4000, 3000, 16, 22, 2e-2, smallest=1.0),
    "gpu": Budget(1000, 50, 256, 128, 32, 32, 20000, 5000, 50, 32, 2e-2, "cuda"),
}


class Found(NamedTuple):
    """What training a model gave: bits per pixel on the test tiles, parameters, Adam's steps and the process's CPU seconds."""

    bits_per_pixel: float
    parameters: int
    steps: int = 0
    cpu_seconds: float = 0.0


class Contest:
    """All models on one seed's images.

    Args:
        budget: How much of everything.
        seed: Of images and weights.
    """

    def __init__(self, budget: Budget, seed: int) -> None:
        self.budget = budget
        self.seed = seed
        self.splits: Splits = generated(
            train=budget.images,
            held_out=budget.held_out,
            side=budget.side,
            seed=seed,
            radii=(budget.smallest, LARGEST),
        )
        self.stacks: dict[int, tuple[RIDE, Found]] = {}
        self.models: dict[str, Callable[[], Found]] = {
            "marginal": self.marginal,
            "linear-Gaussian": self.linear_gaussian,
            BASE: lambda: self.mcgsm(5),
            "MCGSM nb 9": lambda: self.mcgsm(9),
            "RIDE": lambda: self.ride(1),
            "RIDE 2 layers": lambda: self.ride(2),
            "RIDE 3 layers": lambda: self.ride(DEEPEST),
            "ensemble": self.ensemble,
            f"RIDE 3 layers, then {LARGE}x{LARGE}": lambda: self.longer(LARGE, 2),
            "RIDE 3 layers, then as before": lambda: self.longer(budget.patch, budget.batch),
            "RIDE, thrice the steps": lambda: self.scored(self.new_ride(), self.stages(3 * self.budget.steps)),
            "RIDE, the paper's cell": lambda: self.scored(
                self.new_ride(cell="spatial"), self.stages(self.budget.steps)
            ),
            "RIDE extended": lambda: self.scored(self.new_ride(extended=True), self.stages(self.budget.steps)),
            "RIDE, published schedule": lambda: self.scored(self.new_ride(), staged_sgd(), clip=0.0),
        }

    def marginal(self) -> Found:
        """Pixels by themselves: a histogram of 256 bins."""
        train = torch.cat([image.flatten() for image in self.splits.train])
        test = torch.cat([image.flatten() for image in self.splits.test])
        low, high, bins = float(train.min()) - 0.1, float(train.max()) + 0.1, 256
        counts = torch.histc(train, bins, low, high).double() + 0.5
        density = counts / counts.sum() * bins / (high - low)
        at = ((test - low) / (high - low) * bins).long().clamp(0, bins - 1)
        return Found(float(density[at].log2().mean()), bins - 1)

    def linear_gaussian(self) -> Found:
        """Whitening alone."""
        model = LinearGaussian()
        model.fit_whitening(self.tiles("train"))
        return Found(model.bits_per_pixel(self.tiles("test")), 0)

    def mcgsm(self, neighborhood: int) -> Found:
        """Without a recurrence, the same optimizer and then L-BFGS."""
        torch.manual_seed(self.seed)
        size = self.budget
        model = MCGSMImage(1, neighborhood, size.components, features=size.features)
        return self.scored(model, self.stages(size.mcgsm_steps, finetune=50))

    def ride(self, layers: int) -> Found:
        """A new layer on the trained ones, all trained; steps and seconds count those that the ones below took."""
        if layers == 1:
            model, before = self.new_ride(), Found(0.0, 0)
        else:
            if layers - 1 not in self.stacks:
                self.ride(layers - 1)
            below, before = self.stacks[layers - 1]
            model = below.add_layer()
        own = self.scored(model, self.stages(self.budget.steps))
        found = own._replace(steps=before.steps + own.steps, cpu_seconds=before.cpu_seconds + own.cpu_seconds)
        self.stacks[layers] = model, found
        return found

    def ensemble(self) -> Found:
        """The deepest model, averaged over the eight symmetries of the square."""
        if DEEPEST not in self.stacks:
            self.ride(DEEPEST)
        model, found = self.stacks[DEEPEST]
        bits = Ensemble(model).bits_per_pixel(self.tiles("test").to(self.budget.device))
        return found._replace(bits_per_pixel=bits)

    def longer(self, patch: int, batch: int) -> Found:
        """The deepest model trained on for twice a layer's steps."""
        if DEEPEST not in self.stacks:
            self.ride(DEEPEST)
        below, before = self.stacks[DEEPEST]
        size = self.budget
        own = self.scored(deepcopy(below), adam(2 * size.steps, patch=patch, rate=size.rate / 5, batch=batch))
        return own._replace(steps=before.steps + own.steps, cpu_seconds=before.cpu_seconds + own.cpu_seconds)

    def new_ride(self, *, cell: str | None = None, extended: bool = False) -> RIDE:
        """One layer, untrained."""
        torch.manual_seed(self.seed)
        size = self.budget
        cell = cell or (None if extended else size.cell)
        model = RIDE(
            hidden_size=size.hidden, components=size.components, features=size.features, cell=cell, extended=extended
        )
        return model.to(size.device)

    def stages(self, steps: int, finetune: int = 0) -> list[ImageStage]:
        """Adam's."""
        size = self.budget
        return adam(steps, patch=size.patch, rate=size.rate, batch=size.batch, finetune=finetune)

    def scored(self, model: ImageModel, stages: list[ImageStage], clip: float = 1.0) -> Found:
        """Train, and score on the test tiles."""
        options = Options(seed=self.seed, clip=clip, validate_every=500)
        start = time.process_time()
        task = ImageTask(model.to(self.budget.device), self.splits)
        trainer = Trainer(task, stages, options=options)
        trainer.run()
        seconds = time.process_time() - start
        return Found(task.bits(task.tiles("test")), _size(model), trainer.state.total, seconds)

    def tiles(self, part: str) -> Tensor:
        """64x64 tiles."""
        return tiles(self.splits.part(part), 64)


def rows_of(budget: Budget, seeds: int, names: list[str], done: list[Row]) -> Iterator[Row]:
    """One row per seed and model that is not done."""
    for seed in range(seeds):
        missing = [name for name in names if not any(row["seed"] == seed and row["model"] == name for row in done)]
        contest = Contest(budget, seed) if missing else None
        for name in missing:
            if contest is not None:
                found = contest.models[name]()
                print(
                    f"seed {seed}  {name:25s} {found.bits_per_pixel:.4f} bits per pixel, {found.cpu_seconds:.0f} s",
                    flush=True,
                )
                yield {"model": name, "seed": seed, **found._asdict()}


def table(rows: list[Row]) -> str:
    """Markdown: bits per pixel, smallest and largest of the seeds, and gaps to the MCGSM on the same images."""
    base = {row["seed"]: row["bits_per_pixel"] for row in rows if row["model"] == BASE}
    lines = []
    names = [_name(row, _cell(rows[0])) for row in rows]
    for name in dict.fromkeys(names):
        own = [row for row, of in zip(rows, names, strict=True) if of == name]
        gaps = [row["bits_per_pixel"] - base[row["seed"]] for row in own if row["seed"] in base]
        paper = f"{PAPER[name]:+.2f}" if name in PAPER else ""
        seconds = statistics.median(row["cpu_seconds"] for row in own)
        bits, gap = _range([row["bits_per_pixel"] for row in own], ".3f"), _range(gaps, "+.3f")
        size, steps = (f"{own[0][key]:,}" for key in ("parameters", "steps"))
        lines.append([name, bits, gap, paper, size, steps, f"{seconds:.0f}", str(len(own))])
    head = ["model", "bits per pixel", f"gap to {BASE}", "paper's gap (unchecked)", "parameters"]
    head += ["steps", "CPU seconds", "seeds"]
    return markdown_table(head, lines)


def report(rows: list[Row]) -> str:
    """Markdown: what was measured, and the table."""
    size = rows[0]["settings"]
    images = f"{size['held_out']} held-out images of {size['side']}x{size['side']} after training on {size['images']}"
    hidden = f"RIDE has {size['hidden']} hidden units and the cell `{_cell(rows[0])}`, where no other is named"
    leaves = f"leaves of radii from {size.get('smallest', SMALLEST):g} to {LARGEST:g} pixels"
    return (
        f"{images}, {leaves}; mean and range of the seeds. No model can exceed {noise_bound():.3f} bits per pixel on these images; the\n"
        f"paper's own are not to be had, so gaps alone compare. {hidden}. Layers are added one by one, and all\n"
        f"are trained {size['steps']:,} steps each time; steps and seconds (threads: {size['threads']}) of deep models count those of\n"
        f"the shallower ones they grew from. The ensemble is of the deepest model, which goes on for twice a layer's steps, on larger\n"
        f"patches and, for comparison, on such as it knows.\n\n{table(rows)}"
    )


def _cell(row: Row) -> str:
    """RIDE's; rows that do not name one are from before there was another."""
    return str(row.get("settings", {}).get("cell", "spatial"))


def _name(row: Row, cell: str) -> str:
    """A model's, with its cell where that is another than ``cell``."""
    return f"{row['model']}, {_cell(row)}" if row["parameters"] and _cell(row) != cell else str(row["model"])


def _range(values: list[float], form: str) -> str:
    """The mean, and the smallest and largest of several."""
    if not values:
        return ""
    spread = f" ({min(values):{form}} .. {max(values):{form}})" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{form}}{spread}"


def _size(model: ImageModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def main() -> None:
    """Train what is missing, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", choices=sorted(BUDGETS), default="minutes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="models to train, by their names in the table")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder (default: benchmarks/results)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    budget = BUDGETS[args.budget]
    path = args.results / f"dead_leaves_{args.budget}.json"
    names = args.only or [name for name in Contest(budget, 0).models if name != "RIDE, published schedule"]
    rows: list[Row] = []
    if path.is_file():
        found: list[Row] = read_results(path)["rows"]
        rows = [row for row in found if row["settings"] == settings(budget, args.threads)]
    for row in rows_of(budget, args.seeds, names, list(rows)):
        rows.append({**row, "settings": settings(budget, args.threads)})
        write_results(path, "dead leaves", rows, quick=args.budget == "minutes")
    print(f"\n{table(rows)}")


def settings(budget: Budget, threads: int) -> dict[str, Any]:
    """What rows must agree in to stand in one table."""
    return {**asdict(budget), "threads": threads}


if __name__ == "__main__":
    main()
