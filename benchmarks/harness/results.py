"""Figures kept as JSON."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.harness.machine import Description, describe_machine
from benchmarks.harness.timing import Measurement
from spatial_lstm.files import write_atomically

Row = dict[str, Any]


def write_results(path: Path, benchmark: str, rows: list[Row], *, quick: bool) -> dict[str, Any]:
    """Keep the rows of a benchmark with the machine they were measured on; return what was written."""
    machine: Description = describe_machine()
    results: dict[str, Any] = {"benchmark": benchmark, "quick": quick, "machine": machine, "rows": rows}
    text = json.dumps(_rounded(results), indent=1, allow_nan=False)
    write_atomically(path, lambda file: file.write((_compact(text) + "\n").encode()))
    return results


def as_kept(found: dict[str, Measurement]) -> dict[str, Row]:
    """Measurements of contestants as they are kept, without notes where there are none.

    Four significant digits of each time are more than a clock is good for.
    """
    kept = {name: {k: v for k, v in asdict(one).items() if k != "notes" or v} for name, one in found.items()}
    for one in kept.values():
        one["seconds"] = [float(f"{seconds:.4g}") for seconds in one["seconds"]]
    return kept


def read_results(path: Path) -> dict[str, Any]:
    """What :func:`write_results` wrote.

    Raises:
        ValueError: If the file holds something else.
    """
    results = json.loads(path.read_text())
    if not isinstance(results, dict) or not {"benchmark", "quick", "machine", "rows"} <= results.keys():
        raise ValueError(f"expected the results of a benchmark in {path.name}, got something else")
    return results


def kept_rows(path: Path) -> list[Row]:
    """The rows of a benchmark that goes on where it was interrupted; none if it has not been run."""
    return list(read_results(path)["rows"]) if path.is_file() else []


def _rounded(value: Any) -> Any:
    """Six significant digits."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def _compact(text: str) -> str:
    """Lists of plain numbers on one line each, and what holds none but such lists and plain values."""
    text = re.sub(r"\[\s+([-+.\de,\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)
    return re.sub(
        r"\{\n([^{}]*)\n\s*\}", lambda found: f"{{{' '.join(line.strip() for line in found[1].splitlines())}}}", text
    )
