"""Which kernels run a problem, and with which tiles: one table, from the hidden size, the type and the rows of a step."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch

from spatial_lstm.engine.problem import Problem


class Device(NamedTuple):
    """What of a GPU the choice depends on: its multiprocessors, and whether its tensor cores take float32, as :data:`SPLITTING` says."""

    multiprocessors: int
    splits: bool


# Used where there is no GPU to ask.
H100 = Device(132, True)

# Compute capabilities of the GPUs for data centers, whose tensor cores take TF32 eight times as fast as other cores take float32. On all
# others, for desktops and drawing, they take it once or twice as fast, by the maker's figures, and three products for one take longer.
SPLITTING = {(8, 0), (9, 0), (10, 0), (10, 3)}


@cache
def described(device: torch.device) -> Device:
    """What the choice depends on."""
    if device.type != "cuda":
        return H100
    found = torch.cuda.get_device_properties(device)
    return Device(found.multi_processor_count, (found.major, found.minor) in SPLITTING)


class Tile(NamedTuple):
    """A tile of ``rows`` times ``features`` of the result, summed over ``inner`` at a time, by ``warps`` warps."""

    rows: int
    features: int
    inner: int
    warps: int
    stages: int

    @property
    def options(self) -> dict[str, int]:
        """How a kernel of it is compiled.

        Products and sums are not fused: compilers do so as they like, and in kernels that save their gates otherwise than in those
        that do not.
        """
        return {"num_warps": self.warps, "num_stages": self.stages, "enable_fp_fusion": False}

    def within(self, hidden: int) -> Tile:
        """No wider and no deeper than so many features."""
        width = _power(hidden)
        return self._replace(features=min(self.features, width), inner=min(self.inner, width))


class Limits(NamedTuple):
    """Up to which hidden size, inclusive, the persistent and the fused kernel are best; beyond, a library's product is."""

    images: int
    step: int


# How Triton takes each kind of products. "tf32x3" splits a float32 factor into two of TF32, which keep its 24 bits between them, and adds
# three products on tensor cores; the fourth, of what both leave, is below the rounding of float32. On an H200 errors are those of
# multiply-adds, and a step of 32 features takes half the time.
PRECISIONS = {"exact": "ieee", "split": "tf32x3", "tf32": "tf32", "half": "tf32"}

# Measured on an H200, images of 32 x 32, each step launched by Python (docs/benchmarks.md): a persistent kernel takes one launch, and up to
# 64 features in 16 bits no longer for a step than those that are launched for each; a library's product takes the CPU as long as three
# launches, and pays from where the GPU takes longer. In a CUDA graph it pays from 64 features on. TF32 was timed by the GPU alone;
# the limits of split products are those of multiply-adds, which Triton takes in twice a library's time from 64 features on.
LIMITS = {"exact": Limits(32, 64), "split": Limits(32, 64), "tf32": Limits(32, 256), "half": Limits(64, 256)}

# The largest tiles that compile for images for sm_80, sm_90 and sm_100 without spills worth the name: of 414 kernels, every cell in every
# type, the assembler of Triton 3.7 spills 8 .. 24 bytes of 11, and of 180 with weights held 8 .. 16 bytes of a few. tests/test_triton.py
# compiles some of the others. Those of split products are the fastest that were measured, of 32 features on an H200.
FORWARD = {
    "exact": Tile(64, 32, 16, 8, 3),
    "split": Tile(16, 32, 32, 4, 3),
    "tf32": Tile(64, 32, 32, 8, 3),
    "half": Tile(64, 32, 64, 8, 3),
}
BACKWARD = {
    "exact": Tile(32, 32, 32, 4, 3),
    "split": Tile(16, 32, 32, 4, 3),
    "tf32": Tile(64, 32, 64, 8, 3),
    "half": Tile(64, 32, 128, 8, 3),
}

# Found alike: the rows of these tiles for a cell of more gates than images have, of which it spills 100 .. 150 bytes at 64 rows.
MOST_BLOCKS = 5
MANY_BLOCKS_ROWS = 16

# Without a product: 8 entries a thread, and 64 features, whole lines of the cache in every type.
POINTWISE = Tile(16, 64, 16, 4, 1)

# By the features, all of them in one tile, and found as above; the weights are read from the cache, so that no stages are kept.
IMAGES = {
    "exact": {16: Tile(32, 16, 16, 4, 1), 32: Tile(16, 32, 16, 4, 1), 64: Tile(16, 64, 16, 8, 1)},
    "split": {16: Tile(32, 16, 16, 4, 1), 32: Tile(16, 32, 32, 4, 1), 64: Tile(16, 64, 16, 8, 1)},
    "tf32": {16: Tile(32, 16, 16, 4, 1), 32: Tile(16, 32, 32, 4, 1), 64: Tile(16, 64, 16, 8, 1)},
    "half": {16: Tile(32, 16, 16, 4, 1), 32: Tile(16, 32, 32, 4, 1), 64: Tile(16, 64, 64, 8, 1)},
}

# What a persistent kernel can hold: the widest of its tiles.
MOST_HIDDEN = max(IMAGES["exact"])

# Bytes of recurrent weights that a persistent kernel keeps in shared memory, beside some 12 KiB of its own: what a block of any GPU of
# capability 8.0 or more has, 99 KiB on the smallest. More are read anew for every tile, from the cache, and so are those of 16 features,
# with which warps would do the same products twice. Chosen by counting instructions (benchmarks/instructions.py).
HELD_BYTES = 80 * 1024

# Tiles that a program may have to do one after the other in a step before a launch, after which many programs do them at once, is better:
# on an H200 eight take 53 us a step where a launch takes 20.
IMAGES_TILES = 2

# The least side of a tile: what a product on tensor cores takes.
LEAST = 16


class Choice(NamedTuple):
    """What runs a problem.

    Attributes:
        variant: ``"gates"``: a library's product and one kernel for the gates per step; ``"step"``: one kernel per step;
            ``"images"``: one kernel for all steps, a program per few images.
        precision: How products of float32 are taken: ``"ieee"``, ``"tf32x3"`` or ``"tf32"``.
        group: Images a program of ``"images"`` has.
        forward: Its tile.
        backward: Its tile.
    """

    variant: str
    precision: str
    group: int
    forward: Tile
    backward: Tile

    def __str__(self) -> str:
        tiles = " and ".join(f"{tile.rows} x {tile.features}" for tile in (self.forward, self.backward))
        group = f", {self.group} images a program" if self.variant == "images" else ""
        return f"{self.variant}{group}, tiles {tiles} forward and backward, products {self.precision}"


def choose(problem: Problem, variant: str | None = None, device: Device = H100) -> Choice:
    """The best variant, or the tiles of a given ``variant``."""
    kind = products_of(problem.dtype, device)
    limits = LIMITS[kind]
    if variant is None:
        fits = (
            problem.hidden <= limits.images
            and _rows_per_image(problem) <= IMAGES_TILES * images_tile(problem.hidden, kind).rows
        )
        variant = "images" if fits else "step" if problem.hidden <= limits.step else "gates"
    if variant == "step" and problem.hidden <= LEAST and kind == "split":
        kind = "exact"  # measured: with so few features three products take 1.15 times as long
    precision = PRECISIONS[kind]
    if variant == "gates":
        return Choice(variant, precision, 1, POINTWISE, POINTWISE)
    if variant == "images":
        tile = images_tile(problem.hidden, kind)
        return Choice(variant, precision, _group(problem, tile.rows, device.multiprocessors), tile, tile)
    forward, backward = (_spread(problem, table[kind], device.multiprocessors) for table in (FORWARD, BACKWARD))
    return Choice(variant, precision, 1, forward, backward)


def products_of(dtype: torch.dtype, device: Device = H100) -> str:
    """How products are taken: ``"exact"`` or ``"split"`` in float32, ``"tf32"`` or of ``"half"`` precision numbers."""
    if dtype != torch.float32:
        return "half"
    if torch.backends.cuda.matmul.allow_tf32:
        return "tf32"
    return "split" if device.splits else "exact"


def images_tile(hidden: int, kind: str) -> Tile:
    """The tile of a persistent kernel.

    Raises:
        KeyError: If no tile is wide enough.
    """
    return IMAGES[kind][_power(hidden)]


def holds_weights(tile: Tile, precision: str, axes: int, blocks: int, itemsize: int) -> bool:
    """Whether a persistent kernel keeps its recurrent weights: on tensor cores, whose factors come from shared memory in any case."""
    whole = LEAST < tile.features <= tile.inner
    return precision == "tf32" and whole and axes * blocks * tile.features**2 * itemsize <= HELD_BYTES


def _rows_per_image(problem: Problem) -> int:
    """Sites an image has in the longest step, were all of one size."""
    blocks = problem.plan.block_sizes
    return -(-max(blocks) // blocks[0])  # every image has one site in step 0


def _group(problem: Problem, rows: int, multiprocessors: int) -> int:
    """Images a program takes: as many as leave no multiprocessor idle and fit one tile."""
    share = problem.plan.images * problem.directions // multiprocessors
    return max(1, min(share, rows // _rows_per_image(problem)))


def _spread(problem: Problem, tile: Tile, multiprocessors: int) -> Tile:
    """Halve a tile's rows until there are tiles for all multiprocessors, and its features until there are for half of them.

    Neither to less than :data:`LEAST`. Another tile of the same rows reads the same predecessors: on an H200 128 tiles of 16 x 32 take 0.82
    of the time of 256 of 16 x 16.
    """
    longest, tile = max(problem.plan.block_sizes), tile.within(problem.hidden)
    rows, features = min(tile.rows, _power(longest)), tile.features
    if problem.blocks > MOST_BLOCKS:
        rows = MANY_BLOCKS_ROWS

    def tiles() -> int:
        return -(-longest // rows) * -(-problem.hidden // features) * problem.directions

    while tiles() < multiprocessors and rows > LEAST:
        rows //= 2
    while 2 * tiles() < multiprocessors and features > LEAST:
        features //= 2
    # measured: fewer than 8 entries of every gate a thread take up to twice the time
    warps = tile.warps if rows * features >= 2048 else 4
    return Tile(rows, features, tile.inner, warps, tile.stages)


def _power(size: int) -> int:
    """The least power of two of at least ``size`` and :data:`LEAST`."""
    return max(LEAST, 1 << (size - 1).bit_length())
