"""What every cell states: its gates, one site forward, one site backward, and the same in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]


class Site(NamedTuple):
    """One site, forward; B gate blocks, as many as ``Cell.gates`` names, and h features."""

    z: Array
    """``(B, h)``: the gates before activation, peepholes included."""
    gates: Array
    """``(B, h)``: the activated gates."""
    c: Array
    """``(h,)``"""
    h: Array
    """``(h,)``"""


class SiteGradient(NamedTuple):
    """One site, backward."""

    z: Array
    """``(B, h)``"""
    c: Array
    """``(h,)``: all of it, what comes through this site's h and output peephole included."""
    c_k: Array
    """``(n, h)``: of the predecessors' cell states, through the cell alone (not through ``weight_ch``)."""
    peephole: Array | None
    """``(2n + 1, h)``, None where there are no peepholes."""


class Equations(NamedTuple):
    """A cell in words, from left-hand side to right-hand side, in the order in which it is computed.

    Letters are the contract's: a gate's block is ``i`` before activation and ``s(i)`` or ``tanh(g)`` after it, ``d`` stands before
    what a gradient belongs to. ``dc`` is the part that comes through h, to which the successors' ``dc_k`` are added; what comes through
    weights (peepholes, ``weight_ch``) is left out, since it follows from ``z`` alone.
    """

    forward: dict[str, str]
    backward: dict[str, str]


@dataclass(frozen=True)
class Cell:
    """One entry of the table of cells."""

    gates: Callable[[int], dict[str, str]]
    """From n to the blocks in their order, each with the name of its activation."""
    forward: Callable[[Array, Array, Array | None], Site]
    """From z ``(B, h)``, c_k ``(n, h)`` and the peepholes ``(2n + 1, h)`` or None."""
    backward: Callable[[Array, Array, Site, Array, Array | None], SiteGradient]
    """From dh and dc, ``(h,)`` each, the site, c_k and the peepholes."""
    equations: Callable[[int], Equations]
    takes_peephole: bool = False
    takes_extended: bool = False


def s(z: Array) -> Array:
    """The logistic function, without overflow."""
    e = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1, e) / (1 + e))


def forget_gates(n: int) -> dict[str, str]:
    """Blocks and activations of a cell with one forget gate per axis."""
    return {"i": "s(i)", **{f"f_{k}": f"s(f_{k})" for k in range(n)}, "g": "tanh(g)", "o": "s(o)"}


def sum_of_paths(n: int) -> str:
    """The new c in words, for a cell with one forget gate per axis."""
    return " + ".join(["s(i)*tanh(g)", *(f"s(f_{k})*c_{k}" for k in range(n))])


def back_to_gates(n: int) -> dict[str, str]:
    """From dc to the gates and predecessors in words, for a cell with one forget gate per axis."""
    return {
        "di": "dc*tanh(g)*s(i)*(1 - s(i))",
        **{f"df_{k}": f"dc*c_{k}*s(f_{k})*(1 - s(f_{k}))" for k in range(n)},
        "dg": "dc*s(i)*(1 - tanh(g)*tanh(g))",
        **{f"dc_{k}": f"dc*s(f_{k})" for k in range(n)},
    }
