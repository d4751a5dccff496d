"""The options that every benchmark takes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.machine import describe_machine, machine_name

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Settings:
    """How to run: ``folder`` is where the figures go, ``threads`` the numbers of threads to measure with."""

    folder: Path
    threads: tuple[int, ...] = (1,)
    quick: bool = False


def settings_from(arguments: Sequence[str] | None, description: str | None) -> Settings:
    """Parse a benchmark's command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[1], metavar="T", help="numbers of threads; default 1"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and smaller sizes, fewer rounds; goes to out/")
    parser.add_argument("--output", type=Path, help="folder of the figures; one folder per machine is made in it")
    args = parser.parse_args(arguments)
    if min(args.threads) < 1:
        parser.error(f"expected at least one thread, got {args.threads}")
    base = args.output or ROOT / ("out/benchmarks" if args.quick else "benchmarks/results")
    return Settings(base / machine_name(describe_machine()), tuple(args.threads), args.quick)
