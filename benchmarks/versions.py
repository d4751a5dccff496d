"""The table of versions, made from what ``.ci/versions`` found with each torch. Runs nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import markdown_table

RESULTS = Path(__file__).parent / "results" / "versions"


def section(folder: Path = RESULTS) -> str:
    """One row a version of torch, the newest first: what is beside it, comparisons, and tests that passed.

    Raises:
        ValueError: If nothing has been run.
    """
    found = sorted((json.loads(path.read_text()) for path in folder.glob("*.json")), key=_age, reverse=True)
    if not found:
        raise ValueError(f"expected what .ci/versions found in {folder.name}, got nothing")
    names = list(found[0]["tests"])
    return markdown_table(["torch", "Triton", "Python", "`check`", *names], [_row(one, names) for one in found], left=3)


def _age(one: dict[str, Any]) -> list[int]:
    return [int(part) for part in one["torch"].split(".")]


def _row(one: dict[str, Any], names: list[str]) -> list[str]:
    comparisons = one["comparisons"]
    checked = f"{comparisons['passed']} of {comparisons['all']}"
    return [
        one["torch"],
        one["triton"] or "none",
        one["python"],
        checked,
        *(_count(one["tests"][name]) for name in names),
    ]


def _count(outcomes: Mapping[str, int]) -> str:
    """For example ``11, 1 skipped``."""
    others = [f"{count} {outcome}" for outcome, count in sorted(outcomes.items()) if outcome != "passed"]
    return ", ".join([str(outcomes.get("passed", 0)), *others])
