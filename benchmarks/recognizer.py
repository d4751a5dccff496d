"""A training step of the reader of handwriting on words and lines together: ``python -m benchmarks.recognizer [--quick] [--threads 1 2]``.

Pictures of words and of whole lines, of as many pixels in all as a batch without padding has that stands beside: with ``sizes`` in one
batch, as training makes batches of similar widths, each picture alone, and padded, as if every picture were as wide as the widest.
What lies in the padding then is computed as well, and changes what is read, since states come in through it.

Two mixes: as many words as lines; and two lines beside the fourteen words that stand in so much text, as where a set has its pages both
by the word and by the line. The batch without padding has as many pictures of the mean width: what grows with the square of the width,
the loss, and the steps that a layer takes, as many as the longest line has columns, are less there.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import (
    Budget,
    Contestant,
    Row,
    Settings,
    as_kept,
    markdown_table,
    measure,
    number,
    on_threads,
    ratio,
    settings_from,
    spread,
    watched,
    write_results,
)
from spatial_lstm.handwriting import HandwritingRecognizer

# Widths of words and of lines 48 pixels high, as in letters.
WORDS, LINES, HEIGHT = (40, 240), (700, 1300), 48
SMALL, CLASSES = 4, 100
# Words and lines of a batch.
MIXES, QUICK_MIXES = ((8, 8), (14, 2)), ((2, 2), (3, 1))
# Pixels of a character.
ADVANCE = 20
BUDGET, QUICK_BUDGET = Budget(60.0, least=5, most=15, patience=60.0), Budget(0.1, least=2, most=2, patience=60.0)

# Images ``(N, 1, H, W)``, widths, classes of the characters, characters of each.
Batch = tuple[Tensor, Tensor, Tensor, Tensor]
REAL = "as many pixels without padding"


def batch_of(widths: Sequence[int], padded: bool = False) -> Batch:
    """Noise of some widths with as many characters as fit; ``padded``: the width told is everybody's largest."""
    torch.manual_seed(sum(widths))
    images = torch.rand(len(widths), 1, HEIGHT, max(widths))
    counts = torch.tensor([max(1, width // ADVANCE) for width in widths])
    told = torch.full((len(widths),), max(widths)) if padded else torch.tensor(widths)
    return images, told, torch.randint(1, CLASSES, (len(widths), int(counts.max()))), counts


def drawn(words: int, lines: int) -> list[int]:
    """Widths, words first."""
    torch.manual_seed(0)
    return [*torch.randint(*WORDS, (words,)).tolist(), *torch.randint(*LINES, (lines,)).tolist()]


def ways(widths: Sequence[int]) -> dict[str, list[Batch]]:
    """What is trained on in a step, by name."""
    by_width = sorted(widths)
    mean = round(sum(widths) / len(widths))
    return {
        REAL: [batch_of([mean] * len(widths))],
        "sizes, one batch": [batch_of(widths)],
        "sizes, batches of similar widths": [batch_of(by_width[k : k + SMALL]) for k in range(0, len(by_width), SMALL)],
        "each alone": [batch_of([width]) for width in widths],
        "padded": [batch_of(widths, padded=True)],
    }


def step(model: HandwritingRecognizer, batches: Sequence[Batch]) -> list[Tensor]:
    """The mean loss, with its gradients made; of ten layers these differ by more than the one's that the tolerance is for."""
    dtype = next(model.parameters()).dtype
    losses = [model.loss(images.to(dtype), *others) for images, *others in batches]
    loss = torch.stack(losses).mean()
    torch.autograd.grad(loss, list(model.parameters()))
    return [loss.detach()]


def measure_ways(mix: tuple[int, int], threads: int, budget: Budget) -> Row:
    """Check and time."""
    torch.manual_seed(0)
    model = HandwritingRecognizer(CLASSES, height=HEIGHT)
    exact = copy.deepcopy(model).double()
    widths = drawn(*mix)

    def contestant(name: str, batches: list[Batch]) -> Contestant:
        return Contestant(name, lambda: step(model, batches), lambda: step(exact, batches))

    with on_threads(threads):
        contestants = [contestant(name, batches) for name, batches in ways(widths).items()]
        clock = time.process_time if threads == 1 else time.perf_counter
        found = measure(contestants, budget, clock)
    return {
        "batch": len(widths),
        "lines": mix[1],
        "threads": threads,
        "pixels": HEIGHT * sum(widths),
        "padded_pixels": HEIGHT * len(widths) * max(widths),
        "contestants": as_kept(found),
    }


def table(results: dict[str, Any]) -> str:
    """Markdown: every way's time, and over that of as many pixels without padding; the mixes by what padding adds."""
    lines = []
    for row in results["rows"]:
        seconds = {name: found["seconds"] for name, found in row["contestants"].items()}
        for name, samples in seconds.items():
            figures = [
                number(spread(samples).median * 1e3),
                number(ratio(samples, seconds[REAL]).median),
                number(ratio(seconds["padded"], samples).median),
            ]
            padded = f"{row['padded_pixels'] / row['pixels']:.2f}"
            lines.append([padded, str(row["threads"]), name, *figures])
    names = ["pixels padded, times", "threads", "a training step", "ms", "over none padded", "padded over this"]
    return markdown_table(names, lines, left=3)


def run(settings: Settings) -> dict[str, Any]:
    """Measure, print, keep."""
    budget, mixes = (QUICK_BUDGET, QUICK_MIXES) if settings.quick else (BUDGET, MIXES)
    cases = [(mix, threads) for threads in settings.threads for mix in mixes]
    rows = [measure_ways(mix, threads, budget) for mix, threads in watched(cases, "recognizer")]
    results = write_results(settings.folder / "recognizer.json", "recognizer", rows, quick=settings.quick)
    for row in rows[: len(mixes)]:
        times = row["padded_pixels"] / row["pixels"]
        print(f"{row['batch'] - row['lines']} words and {row['lines']} lines: {times:.2f} times the pixels padded")
    print()
    print(table(results))
    return results


if __name__ == "__main__":
    run(settings_from(None, __doc__))
