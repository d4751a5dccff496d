r"""How many blocks a field is cut into: a model of what a pipeline costs.

With P places, D directions and B blocks each place works ``D B`` steps and idles I of them, ``P - 1`` for directions of one heading
(:func:`~spatial_lstm.distributed.schedule.idle_steps`), so a forward pass takes

.. math::
    T(B) = (D B + I) \left( \frac{W}{B} + w L + O + l + \frac{F}{B \, v} \right)

with W the seconds that one direction's part takes at the machine's rate, w = (extents of a block, added up) - n + 1 its wavefronts at L
seconds each, O seconds for the call, and a message of F / B bytes at latency l and v bytes per second. Many blocks make bubbles small, few
make calls, wavefronts and messages few. The minimum is flat, so constants serve; ``benchmarks/pipeline.py`` measures them.
"""

from __future__ import annotations

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
    """

    rate: float
    wavefront: float
    call: float
    latency: float
    bandwidth: float


# Measured by benchmarks/pipeline.py with one thread and gloo on one machine; for GPUs estimated.
COSTS = {"cpu": Costs(3e10, 5e-6, 1e-3, 2e-4, 1e9), "cuda": Costs(1e13, 1e-5, 5e-4, 3e-5, 2e10)}
MOST = 256


class Work(NamedTuple):
    """One layer's part on one place.

    Attributes:
        extents: The part's extents.
        along: Which of them is cut into blocks.
        flops: Floating-point operations of one direction's forward pass over the part.
        face: Bytes of one direction's face between neighbors.
    """

    extents: Sequence[int]
    along: int
    flops: float
    face: float


def step_seconds(work: Work, blocks: int, costs: Costs) -> float:
    """Seconds from one block to the next: computing it, and handing its face on."""
    extents = [-(-extent // blocks) if k == work.along else extent for k, extent in enumerate(work.extents)]
    wavefronts = sum(extents) - len(extents) + 1
    message = costs.latency + work.face / blocks / costs.bandwidth
    return work.flops / blocks / costs.rate + wavefronts * costs.wavefront + costs.call + message


def choose_blocks(work: Work, places: int, heading: tuple[int, ...], costs: Costs) -> int:
    """The number of blocks for which a forward pass takes least time by the model; 1 for a chain of one place."""
    if places == 1:
        return 1
    idle = idle_steps(places, heading)

    def seconds(blocks: int) -> float:
        return (len(heading) * blocks + idle) * step_seconds(work, blocks, costs)

    return min(range(1, min(MOST, work.extents[work.along]) + 1), key=seconds)
