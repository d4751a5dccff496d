"""Image models on the photographs of BSDS300: which cell holds beyond the sizes it was trained on, and the table of Theis & Bethge, 2015.

    python -m benchmarks.photographs --data PATH [--budget NAME] [--only NAME ..] [--seeds 0 1 2] [--threads 1]

PATH is a folder with the folders ``train`` (200 pictures) and ``test`` (100) of BSDS300, free for research and not shipped. Gray is the
mean of red, green and blue, noise is added, and 256 levels are divided by 256; 20 training images are held out to choose by. Models are
scored on all 64x64 tiles of the test images, each by itself, and on the whole images; ensembles on tiles alone. RIDE is trained on
patches of 22x22, as in the paper. With the budget ``tiles`` it goes on with patches of 64x64, and with ``deeper`` once more, as it is or
with a third layer: the further rows of a model, whose steps and hours count all that it came from. With ``symmetries`` it ends on all eight
flips and transposes of the patches, which ensembles read, where the others are trained on mirror images alone. Figures are means over runs,
of several seeds, or of one on machines whose last bits differ: then they come apart, too. Training runs live in
``out/photographs`` and go on where they were interrupted; figures are kept row by row in
``benchmarks/results/photographs_<budget>.json``, and a plot beside them. Core hours are of all cores' CPU time.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import Row, kept_rows, markdown_table, write_results
from benchmarks.harness.training import trained
from spatial_lstm.files import write_atomically
from spatial_lstm.image_models import RIDE, Ensemble, ImageModel, LinearGaussian, MCGSMImage
from spatial_lstm.image_models.data import load, tiles
from spatial_lstm.image_models.training import ImageOptions, ImageStage, ImageTask, adam, load_model
from spatial_lstm.training import BEST, Checkpoint, Options

RESULTS = Path(__file__).parent / "results"
RUNS = Path("out/photographs")
TILE = 64
# Sides of tiles for the gain by context; None is the whole image.
SIDES: tuple[int | None, ...] = (32, 64, 128, None)
# Sides of tiles on which c is looked at.
GROWTH = (64, 96, 128, 192, 256, 320)
# Those of them that the table shows.
SHOWN_GROWTH = ("64", "128", "320")
# The published MCGSM: components, scales and features; how it is trained is ours. It looks at pixels nearby alone, and many small patches
# tell it more than few large ones.
MCGSM_SIZES = 128, 4, 48
MCGSM: dict[str, Any] = {"patch": 12, "batch": 160, "steps": 12000, "finetune": 40}
# Of the "infinity" column; from memory, unchecked.
PUBLISHED = {"MCGSM": 3.717, "RIDE, 1 layer": 3.802, "RIDE, 2 layers": 3.869, "ensemble, 2 layers": 3.899}
RIDES = {1: "RIDE, 1 layer", 2: "RIDE, 2 layers", 3: "RIDE, 3 layers"}
BASE, LINEAR = "MCGSM", "linear-Gaussian"
CELLS = ("spatial", "stable", "graves", "diagonal")
# Whose rows compare with the paper's table, those trained longer last.
PUBLISHED_BUDGETS = ("paper", "tiles", "deeper", "symmetries")


@dataclass(frozen=True)
class Budget:
    """How much of everything; ``steps`` are Adam's for each model, and ``after`` is the budget whose models they go on from."""

    hidden: int
    components: int
    features: int
    steps: int
    patch: int
    batch: int
    rate: float = 1e-2
    final_rate: float = 2.5e-4
    after: str | None = None
    depth: int = 2  # of the deepest model
    symmetries: bool = False

    def stages(self) -> list[ImageStage]:
        """Adam's schedule of each model."""
        return adam(
            self.steps,
            patch=self.patch,
            rate=self.rate,
            final_rate=self.final_rate,
            batch=self.batch,
            symmetries=self.symmetries,
        )

    def name(self, model: str) -> str:
        """A model's name in the tables."""
        return f"{model}, symmetries" if self.symmetries else model


BUDGETS = {
    "cells": Budget(32, 16, 16, 1500, 22, 20, rate=2e-2, final_rate=5e-4),
    "paper": Budget(64, 32, 32, 24000, 22, 20),
    "tiles": Budget(64, 32, 32, 18000, 64, 2, rate=4e-3, final_rate=5e-5, after="paper"),
    "deeper": Budget(64, 32, 32, 24000, 64, 2, rate=4e-3, final_rate=5e-5, after="tiles", depth=3),
    "symmetries": Budget(
        64, 32, 32, 40000, 64, 4, rate=2e-3, final_rate=2.5e-5, after="deeper", depth=3, symmetries=True
    ),
}


class Contest:
    """The models of one seed.

    Args:
        budget: Its name.
        data: The folder.
        seed: Of weights, noise and order.
    """

    def __init__(self, budget: str, data: Path, seed: int) -> None:
        self.name, self.budget, self.seed = budget, BUDGETS[budget], seed
        self.splits = load(data, seed=seed, gray="mean")
        if budget == "cells":
            self.models: dict[str, Callable[[], Row]] = {
                RIDES[depth].replace("RIDE", cell): self.of_cell(cell, depth)
                for depth in (1, 2)
                for cell in CELLS[: 4 if depth == 1 else 2]
            }
        else:
            baselines = {LINEAR: self.linear_gaussian, BASE: self.mcgsm}
            models = {
                **({} if self.budget.after else baselines),
                **{RIDES[depth]: self.of_cell("stable", depth) for depth in range(1, self.budget.depth + 1)},
                **{f"ensemble, {depth} layers": self.ensemble(depth) for depth in range(2, self.budget.depth + 1)},
            }
            self.models = {self.budget.name(model): make for model, make in models.items()}

    def linear_gaussian(self) -> Row:
        """Whitening alone, in the neighborhood of the MCGSM."""
        model = LinearGaussian(neighborhood=9)
        model.prepare(tiles(self.splits.train, TILE))
        return self.scored(model)

    def mcgsm(self) -> Row:
        """As published: 9 wide, 128 components, 4 scales, 48 features; here Adam, and then L-BFGS on 400,000 pixels."""
        return self.trained(MCGSMImage(1, 9, *MCGSM_SIZES), adam(**MCGSM), [self.folder("mcgsm")])

    def of_cell(self, cell: str, depth: int) -> Callable[[], Row]:
        """RIDE; a layer is added to a trained model, and all are trained."""

        def make() -> Row:
            size, folders = self.budget, self.folders(cell, depth)
            if len(folders) == 1:
                model = RIDE(hidden_size=size.hidden, components=size.components, features=size.features, cell=cell)
            else:
                below = load_model(folders[1] / BEST)
                assert isinstance(below, RIDE)
                model = below if below.lstm.num_layers == depth else below.add_layer()
            return self.trained(model, size.stages(), folders)

        return make

    def ensemble(self, depth: int) -> Callable[[], Row]:
        """A model averaged over the eight symmetries of the square."""
        folders = self.folders("stable", depth)
        return lambda: {**self.scored(Ensemble(load_model(folders[0] / BEST))), **spent(folders)}

    def folder(self, run: str, budget: str | None = None) -> Path:
        """Where a training run lives."""
        return RUNS / (budget or self.name) / f"{run}-{self.seed}"

    def folders(self, cell: str, depth: int) -> list[Path]:
        """Of a RIDE's run, and of those that it goes on from, one after the other: trained less, or of a layer less."""
        budget, found = self.name, [self.folder(f"{cell}-{depth}")]
        while (after := BUDGETS[budget].after) or depth > 1:
            budget, depth = (after, min(depth, BUDGETS[after].depth)) if after else (budget, depth - 1)
            found.append(self.folder(f"{cell}-{depth}", budget))
        return found

    def trained(self, model: ImageModel, stages: Sequence[ImageStage], folders: Sequence[Path]) -> Row:
        """Train in the first of the folders, or go on there, and score; the model comes from the others."""
        torch.manual_seed(self.seed)
        options = Options(seed=self.seed, clip=1.0, validate_every=500)
        looked_at = ImageOptions(validation_tiles=100, finetune_pixels=400_000)
        trainer = trained(
            folders[0],
            lambda: ImageTask(model, self.splits, looked_at, fitted=self.budget.after is not None),
            lambda checkpoint: ImageTask.restore(checkpoint, self.splits),
            stages,
            options,
            clock=time.process_time,
        )
        return {**self.scored(trainer.task.model), **spent(folders), "threads": torch.get_num_threads()}

    def scored(self, model: ImageModel) -> Row:
        """Bits per pixel of every test image, cut into tiles and whole."""
        row: Row = {"parameters": sum(p.numel() for p in model.parameters()), "bits": {}}
        sides = (TILE, None) if self.name == "cells" else SIDES
        for side in (TILE,) if isinstance(model, Ensemble) else sides:  # eight times the work
            row["bits"][str(side or "whole")] = [bits(model, image, side) for image in self.splits.test]
        if isinstance(model, RIDE):
            row["largest_c"] = {str(side): largest_c(model, tiles(self.splits.test[::5], side)) for side in GROWTH}
        return row


def spent(folders: Sequence[Path]) -> Row:
    """Steps and seconds of some training runs together."""
    states = [Checkpoint.read(folder).state for folder in folders]
    return {"steps": sum(state.total for state in states), "seconds": sum(state.seconds for state in states)}


@torch.no_grad()
def bits(model: ImageModel, image: Tensor, side: int | None) -> float | None:
    """Bits per pixel of an image, or the mean of its tiles; None where that is not finite."""
    images = image[None] if side is None else tiles([image], side)
    found = torch.cat([model.log_prob(part).bits_per_pixel for part in images.split(40)]).double().mean().item()
    return found if math.isfinite(found) else None


@torch.no_grad()
def largest_c(model: RIDE, images: Tensor) -> float | None:
    """The largest |c| on the far faces, None where it is not finite."""
    state = model.lstm(model.whiten(images)[0])[1]
    found = max(float(face.abs().max()) for face in state.c)
    return found if math.isfinite(found) else None


def mean_bits(rows: Sequence[Row], side: str) -> str:
    """The mean over images and seeds, and how many images of all are not finite; empty for a side that was not scored."""
    if side not in rows[0]["bits"]:
        return ""
    found = [value for row in rows for value in row["bits"][side]]
    finite = [value for value in found if value is not None]
    lost = f" ({len(found) - len(finite)} of {len(found)} not finite)" if len(finite) < len(found) else ""
    return f"{statistics.fmean(finite):.3f}{lost}"


def paired(rows: Sequence[Row], base: Sequence[Row], side: str) -> tuple[float, float]:
    """The mean gain over another model on the same images, and half the width of its 95 % interval over images; seeds are averaged.

    Images whose likelihood is not finite for one of them are left out.
    """
    gains = []
    for own, other in zip(
        *(zip(*(row["bits"][side] for row in part), strict=True) for part in (rows, base)), strict=True
    ):
        if None not in own + other:
            gains.append(statistics.fmean(own) - statistics.fmean(other))
    return statistics.fmean(gains), 1.96 * statistics.stdev(gains) / math.sqrt(len(gains))


def by_training(rows: Sequence[Row]) -> dict[tuple[str, int], list[Row]]:
    """The rows of all seeds of each model and number of steps."""
    found: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row["model"], row.get("steps", 0)), []).append(row)
    return found


def published_rows(folder: Path) -> list[Row]:
    """The rows that compare with the paper's table."""
    return [row for budget in PUBLISHED_BUDGETS for row in kept_rows(folder / f"photographs_{budget}.json")]


def table(rows: list[Row], budget: str) -> str:
    """Markdown; the rows of a model that was trained for other numbers of steps, too, stand together."""
    own = by_training(rows)
    names = list(dict.fromkeys(name for name, _ in own))
    base = next((part for (name, _), part in own.items() if name == BASE), None)
    lines = []
    for key in sorted(own, key=lambda key: (names.index(key[0]), key[1])):
        name, part = key[0], own[key]
        figures = [mean_bits(part, "64"), mean_bits(part, "whole")]
        if budget == "cells":
            growth = [[row["largest_c"][side] for row in part] for side in SHOWN_GROWTH]
            figures += ["inf" if None in values else f"{max(values):.3g}" for values in growth]
        else:
            gain = paired(part, base, "64") if base and name != BASE else None
            figures += [
                f"{gain[0]:+.3f} ± {gain[1]:.3f}" if gain else "",
                f"{PUBLISHED[name]:.3f}" if name in PUBLISHED else "",
            ]
        hours = statistics.fmean(row.get("seconds", 0.0) for row in part) / 3600
        figures += [f"{part[0]['parameters']:,}", f"{part[0].get('steps', 0):,}", f"{hours:.2f}", str(len(part))]
        lines.append([name, *figures])
    head = ["model", "64x64 tiles", "whole images"]
    head += (
        [f"largest abs c at {side}" for side in SHOWN_GROWTH]
        if budget == "cells"
        else [f"gain over the {BASE} (95 %)", "published (unchecked)"]
    )
    return markdown_table([*head, "parameters", "steps", "core hours", "runs"], lines)


def plot(path: Path, rows: list[Row]) -> None:
    """The gain over the MCGSM against the side of the tiles."""
    from matplotlib.figure import Figure

    base = [row for row in rows if row["model"] == BASE]
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    names = list(RIDES.values())
    shown = {key: own for key, own in by_training(rows).items() if key[0] in names}
    for name, steps in sorted(shown, key=lambda key: (names.index(key[0]), key[1])):
        own = shown[name, steps]
        sides = [side for side in map(str, [side or "whole" for side in SIDES]) if side in own[0]["bits"]]
        gains = [paired(own, base, side) for side in sides]
        patch = own[0]["settings"]["patch"]
        trained_after = sum(name == other and steps < more for other, more in shown)
        axes.errorbar(
            sides,
            [g[0] for g in gains],
            [g[1] for g in gains],
            marker="o",
            capsize=3,
            color=f"C{names.index(name)}",
            linestyle=("-", "--", ":")[trained_after % 3],
            label=f"{name}, {steps:,} steps, the last on {patch}x{patch}",
        )
    axes.set(xlabel="side of the tiles that are scored, in pixels", ylabel=f"gain over the {BASE}, bits per pixel")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", title="model, and steps on patches")
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=110))


def main() -> None:
    """Train what is missing, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--budget", choices=sorted(BUDGETS), default="cells")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="models to train, by their names in the table")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    path = RESULTS / f"photographs_{args.budget}.json"
    rows = kept_rows(path)
    for seed in args.seeds:
        contest = Contest(args.budget, args.data, seed)
        for name in args.only or list(contest.models):
            if any((row["model"], row["seed"]) == (name, seed) for row in rows):
                continue
            row = {"model": name, "seed": seed, **contest.models[name](), "settings": asdict(contest.budget)}
            print(
                f"seed {seed}  {name:20s} tiles {mean_bits([row], '64')}, whole {mean_bits([row], 'whole')}", flush=True
            )
            rows = [*kept_rows(path), row]  # others may have been added by a run beside this one
            write_results(path, "photographs", rows, quick=False)
    if args.budget != "cells":
        rows = published_rows(RESULTS)
        if {BASE} < {row["model"] for row in rows}:
            plot(RESULTS / "photographs.png", rows)
    print(table(rows, args.budget))


if __name__ == "__main__":
    main()
