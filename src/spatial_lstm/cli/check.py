"""Compare every backend with the NumPy reference on this machine, forward and backward; fail if one falls short."""

from __future__ import annotations

import argparse

import torch

from spatial_lstm import SpatialLSTM, backends
from spatial_lstm.cli.errors import UsageError
from spatial_lstm.equality import TOLERANCE, Comparison, compare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--device",
        action="append",
        metavar="DEVICE",
        help='such as "cpu" or "cuda:0", may be repeated (default: all there are)',
    )


def run(args: argparse.Namespace) -> int:
    """Print the table; 1 if an error exceeds its bound.

    Raises:
        UsageError: If a device is not there.
    """
    for name in args.device or ():
        try:
            torch.zeros(1, device=name).cpu()
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"expected a device of this machine, got {name!r}: {reason}") from error
    return 0 if print_table(args.device) else 1


def print_table(devices: list[str] | None = None) -> bool:
    """Print one line per cell, axes, directions and device, and per type the worst backend's error beside its bound.

    Then which backends are not there, and why.

    Returns:
        Whether every error is within its bound.
    """
    SpatialLSTM(1, 1)(torch.zeros(1, 1, 1, 1))  # what is compiled on first use is there now, or not
    states = backends()
    names = ", ".join(name for name, state in states.items() if state.startswith("available") and name != "reference")
    print(f"Equality with the NumPy reference, outputs and gradients; worst error of the backends {names} / bound")
    types = [str(dtype).removeprefix("torch.") for dtype in TOLERANCE]
    print(f"{'cell':<17}{'axes':<5}{'directions':<11}{'device':<8}" + "".join(f"{name:<18}" for name in types))
    failed: list[Comparison] = []
    count = 0
    for comparisons in compare(devices):
        first = comparisons[0]
        shown = "all" if first.directions else "f" * first.axes
        cells = [_cell([found for found in comparisons if found.dtype == dtype]) for dtype in TOLERANCE]
        line = f"{first.variant:<17}{first.axes:<5}{shown:<11}{first.device:<8}" + "".join(
            f"{cell:<18}" for cell in cells
        )
        print(line.rstrip(), flush=True)
        failed += [found for found in comparisons if not found.passed]
        count += len(comparisons)
    for found in failed:
        print(
            f"FAILED: backend {found.backend}, cell {found.variant}, axes {found.axes}, directions {found.directions or 'one'}, "
            f"{found.device}, {found.dtype}: error {found.error:.2g}, bound {found.bound:.0e}"
        )
    for state in dict.fromkeys(states.values()):
        if state != "available":
            print(f"{', '.join(name for name in states if states[name] == state)}: {state}")
    print(f"{count - len(failed)} of {count} comparisons within their bounds")
    return not failed


def _cell(comparisons: list[Comparison]) -> str:
    """The worst error over its bound, ``-`` where no backend takes the type."""
    if not comparisons:
        return "-"
    worst = next((found for found in comparisons if found.error != found.error), None)
    worst = worst or max(comparisons, key=lambda found: found.error)
    return f"{worst.error:.1e} / {worst.bound:.0e}" + ("" if worst.passed else " !")
