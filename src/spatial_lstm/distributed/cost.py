r"""How many blocks a field is cut into: a model of what a pipeline costs.

With P places, D directions and B blocks each place works ``D B`` steps and idles I of them, ``P - 1`` for directions of one heading
(:func:`~spatial_lstm.distributed.schedule.idle_steps`), so a forward pass takes

.. math::
    T(B) = (D B + I) \left( \frac{W}{B} + w L + O + l + \frac{F}{B \, v} \right)

with W the seconds that one direction's part takes at the machine's rate, w = (extents of a block, added up) - n + 1 its wavefronts at L
seconds each, O seconds for the call, and a message of F / B bytes at latency l and v bytes per second. Many blocks make bubbles small, few
make calls, wavefronts and messages few. The minimum is flat, so constants serve; ``benchmarks/pipeline.py`` measures them.

Blocks are small enough, too, for the allocator to keep their memory from one to the next: on Linux, what is larger than 32 MiB is fetched
anew from the system each time, which takes up to a third of a step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from spatial_lstm.distributed.schedule import idle_steps


class Costs(NamedTuple):
    """What a device costs.

    Attributes:
        rate: Floating-point operations per second of one process.
        wavefront: Seconds for each wavefront besides.
        call: Seconds for each block besides.
        latency: Seconds for each message.
        bandwidth: Bytes per second of a message.
        kept: Bytes of the largest table whose memory the allocator keeps.
    """

    rate: float
    wavefront: float
    call: float
    latency: float
    bandwidth: float
    kept: float = math.inf


# Measured by benchmarks/pipeline.py with one thread and gloo on one machine; for GPUs estimated.
COSTS = {"cpu": Costs(6e10, 6e-6, 5e-4, 2e-4, 1e9, 3e7), "cuda": Costs(1e13, 1e-5, 5e-4, 3e-5, 2e10)}
MOST = 256


class Work(NamedTuple):
    """One layer's part on one place.

    Attributes:
        extents: The part's extents.
        along: Which of them is cut into blocks.
        flops: Floating-point operations of one direction's forward pass over the part.
        face: Bytes of one direction's face between neighbors.
        table: Bytes of one direction's gates over the part, the largest table there is.
    """

    extents: Sequence[int]
    along: int
    flops: float
    face: float
    table: float = 0.0


def block_seconds(work: Work, blocks: int, costs: Costs) -> float:
    """Seconds to compute a block."""
    extents = [-(-extent // blocks) if k == work.along else extent for k, extent in enumerate(work.extents)]
    wavefronts = sum(extents) - len(extents) + 1
    return work.flops / blocks / costs.rate + wavefronts * costs.wavefront + costs.call


def message_seconds(work: Work, blocks: int, costs: Costs) -> float:
    """Seconds to hand a block's face on."""
    return costs.latency + work.face / blocks / costs.bandwidth


def choose_blocks(work: Work, places: int, heading: tuple[int, ...], costs: Costs) -> int:
    """The number of blocks for which a forward pass takes least time by the model."""
    idle = idle_steps(places, heading)

    def seconds(blocks: int) -> float:
        steps = len(heading) * blocks + idle
        return steps * (block_seconds(work, blocks, costs) + message_seconds(work, blocks, costs))

    most = min(MOST, work.extents[work.along])
    least = min(most, max(1, math.ceil(work.table / costs.kept)))
    return min(range(least, most + 1), key=seconds)
