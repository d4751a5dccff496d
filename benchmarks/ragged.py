"""A batch of words: heights 20 .. 60, widths 20 .. 400, 32 images. ``python -m benchmarks.ragged [--quick] [--threads 1 2]``.

Beside one another: ours with ``sizes``, with the plan of these sizes kept, or made anew in every step as when every batch brings new sizes;
ours on the padded batch; and each image alone, the way of those without ``sizes``. One direction, so that the padded batch computes the
same at the images' sites (in reverse directions states would come in through the padding, and padding would be wrong as well as slow);
and all four, without the padded batch.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from benchmarks.fields import Size, compare_with_reference, kernels, new_layer, run_layer
from benchmarks.harness import (
    Budget,
    Contestant,
    Measurement,
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
from spatial_lstm import SpatialLSTM

# Words as a recognizer of handwriting sees them.
BATCH, HEIGHTS, WIDTHS, CHANNELS, HIDDEN = 32, (20, 60), (20, 400), 1, 32
# A first run writes to a gigabyte of new memory.
BUDGET = Budget(5.0, patience=4.0)
QUICK_BUDGET = Budget(0.5, least=2, most=5)


class Words:
    """A padded batch of random images, with noise in the padding, and an output gradient that is zero there."""

    def __init__(self, batch: int, directions: str | None) -> None:
        torch.manual_seed(0)
        extents = [torch.randint(low, high + 1, (batch, 1)) for low, high in (HEIGHTS, WIDTHS)]
        self.sizes = torch.cat(extents, dim=1)
        height, width = self.sizes.amax(0).tolist()
        self.size = Size(batch, (height, width), CHANNELS, HIDDEN, directions)
        layer = new_layer(self.size, "composite")
        self.weights = layer.state_dict()
        self.x = torch.randn(batch, height, width, CHANNELS)
        grad = torch.randn(batch, height, width, HIDDEN * len(layer.directions))
        self.grad = torch.zeros_like(grad)
        for own, drawn in zip(self.images(self.grad), self.images(grad), strict=True):
            own.copy_(drawn)
        self.expected = {mode: cache(lambda mode=mode: self._expected(mode)) for mode in (False, True)}

    def make_layer(self, backend: str, dtype: torch.dtype = torch.float32) -> SpatialLSTM:
        """The layer under test."""
        layer = new_layer(self.size, backend, dtype=dtype)
        layer.load_state_dict(self.weights)
        return layer

    def images(self, batch: Tensor) -> list[Tensor]:
        """Views of the images alone."""
        return [image[:height, :width] for image, (height, width) in zip(batch, self.sizes.tolist(), strict=True)]

    def unpadded(self, results: list[Tensor]) -> list[Tensor]:
        """Results whose output and input gradient are shown image by image."""
        return [*(view for tensor in results[:2] for view in self.images(tensor)), *results[2:]]

    def _expected(self, training: bool) -> list[Tensor]:
        """The composite in float64 with ``sizes``, compared with the NumPy reference on a small batch first."""
        layers = [self.make_layer(name, torch.float64) for name in ("composite", "reference")]
        x, grad = self.x.double(), self.grad.double()
        small, sizes = (slice(2), slice(4), slice(5)), torch.tensor([[4, 3], [2, 5]])
        compare_with_reference(*(run_layer(layer, x[small], grad[small], sizes=sizes) for layer in layers))
        return self.unpadded(run_layer(layers[0], x, grad if training else None, sizes=self.sizes))


def line_up(words: Words, backend: str, *, training: bool) -> list[Contestant]:
    """The ways to run a batch of words through one backend."""
    layer, grad = words.make_layer(backend), words.grad if training else None
    expected = words.expected[training]
    orders = iter([torch.arange(len(words.x))])

    def with_sizes() -> list[Tensor]:
        return words.unpadded(run_layer(layer, words.x, grad, sizes=words.sizes))

    def with_new_sizes() -> list[Tensor]:
        order = next(orders, None)  # as they are when checked, then shuffled: a plan not met before, of the same cost
        order = torch.randperm(len(words.x)) if order is None else order
        return words.unpadded(run_layer(layer, words.x, grad, sizes=words.sizes[order]))

    def padded() -> list[Tensor]:
        return words.unpadded(run_layer(layer, words.x, grad))

    images = [image.unsqueeze(0).contiguous() for image in words.images(words.x)]
    grads = [image.unsqueeze(0).contiguous() for image in words.images(words.grad)]

    def alone() -> list[Tensor]:
        return _run_alone(layer, images, grads if training else None)

    runs = {"sizes": with_sizes, "sizes, new every step": with_new_sizes, "padded": padded, "each image alone": alone}
    if words.size.directions is not None:
        del runs["padded"]
    return [Contestant(f"{backend}: {name}", run, expected) for name, run in runs.items()]


def _run_alone(layer: SpatialLSTM, images: list[Tensor], grads: list[Tensor] | None) -> list[Tensor]:
    if grads is None:
        with torch.no_grad():
            return [layer(image)[0][0] for image in images]
    leaves = [image.detach().requires_grad_() for image in images]
    outputs = [layer(leaf)[0] for leaf in leaves]
    found = torch.autograd.grad(outputs, [*leaves, *layer.parameters()], grads)
    batch = len(images)
    return [*(t.detach()[0] for t in outputs), *(t[0] for t in found[:batch]), *found[batch:]]


def measure_words(words: Words, mode: str, threads: int, budget: Budget) -> Row:
    """Check and time."""
    found: dict[str, Measurement] = {}
    with on_threads(threads):
        for kernel in kernels(words.size):  # one after the other: large tables of one would push out those of the other
            found |= measure(line_up(words, kernel, training=mode == "training"), budget)
    return {
        "batch": len(words.x),
        "directions": 1 if words.size.directions is None else 4,
        "mode": mode,
        "threads": threads,
        "sites": int(words.sizes.prod(1).sum()),
        "padded_sites": words.x.shape[:3].numel(),
        "contestants": as_kept(found),
    }


def table(results: dict[str, Any]) -> str:
    """Markdown: each way's time over that of the same backend with ``sizes``."""
    lines = []
    for row in results["rows"]:
        seconds = {name: found["seconds"] for name, found in row["contestants"].items()}
        for name, samples in seconds.items():
            backend, way = name.split(": ")
            against = ratio(samples, seconds[f"{backend}: sizes"])
            figures = [number(spread(samples).median * 1e3), number(against.median)]
            lines.append([row["mode"], str(row["directions"]), str(row["threads"]), backend, way, *figures])
    return markdown_table(["", "directions", "threads", "backend", "way", "ms", "times `sizes`"], lines, left=5)


def summary(results: dict[str, Any]) -> str:
    """Markdown: our best kernel, a line for each case and a column for each way, in milliseconds and as times that with ``sizes``."""
    ways = ["sizes", "sizes, new every step", "padded", "each image alone"]
    lines = []
    for row in results["rows"]:
        best = next(iter(row["contestants"])).split(": ")[0]
        seconds = {way: row["contestants"].get(f"{best}: {way}", {}).get("seconds") for way in ways}
        milliseconds = number(spread(seconds["sizes"]).median * 1e3)
        others = [number(ratio(seconds[w], seconds["sizes"]).median) if seconds[w] else "" for w in ways[1:]]
        lines.append([row["mode"], str(row["directions"]), str(row["threads"]), milliseconds, *others])
    return markdown_table(
        ["", "directions", "threads", "`sizes`, ms", *(f"{way}, times" for way in ways[1:])], lines, left=3
    )


def run(settings: Settings) -> dict[str, Any]:
    """Measure, print, keep."""
    budget, batch = (QUICK_BUDGET, 4) if settings.quick else (BUDGET, BATCH)
    modes = ("training",) if settings.quick else ("training", "inference")
    cases = [(d, mode, threads) for threads in settings.threads for d in (None, "all") for mode in modes]
    rows = [measure_words(Words(batch, d), mode, threads, budget) for d, mode, threads in watched(cases, "ragged")]
    results = write_results(settings.folder / "ragged.json", "ragged", rows, quick=settings.quick)
    row = rows[0]
    print(f"{row['batch']} words, {row['sites']:,} sites of {row['padded_sites']:,} with padding:\n")
    print(table(results))
    return results


if __name__ == "__main__":
    run(settings_from(None, __doc__))
