"""What ``.ci/versions`` runs: the comparisons of ``check`` and the core of the tests, counted into a file that a table is made from."""

from __future__ import annotations

import json
import platform
import sys
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch

from spatial_lstm import SpatialLSTM
from spatial_lstm.equality import compare

# What a table calls them, and where they are.
TESTS = {
    "layer, tiles": (
        "tests/test_layer.py",
        "tests/test_layer_pieces.py",
        "tests/test_layer_twins.py",
        "tests/test_tile_training.py",
    ),
    "`torch.compile`": ("tests/test_programs.py::test_compile_with_sizes_and_faces",),
    "two processes": ("tests/test_distributed.py",),
    "Triton kernels": ("tests/test_triton.py::test_compiles_ahead_of_time",),
}


class Outcomes:
    """A plugin of pytest's that counts what becomes of tests, for each key of :data:`TESTS`."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in TESTS}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            name = next(name for name, places in TESTS.items() if report.nodeid.startswith(places))
            self.counts[name][report.outcome] += 1


def installed(package: str) -> str | None:
    """A package's version; None where it is not there."""
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return None


def main(folder: Path) -> int:
    """Run everything, keep the counts under the version's name; 1 if something fails."""
    SpatialLSTM(1, 1)(torch.zeros(1, 1, 1, 1))  # what is compiled on first use is there from now on
    comparisons = [one for case in compare() for one in case]
    passed = sum(one.passed for one in comparisons)
    print(f"{passed} of {len(comparisons)} comparisons within their bounds")
    outcomes = Outcomes()
    # Warnings are no errors here: every version deprecates something else.
    options = ["-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default"]
    status = pytest.main([*options, *(place for places in TESTS.values() for place in places)], [outcomes])
    found = {
        "torch": installed("torch"),
        "triton": installed("triton"),
        "python": platform.python_version(),
        "comparisons": {"passed": passed, "all": len(comparisons)},
        "tests": outcomes.counts,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"torch-{found['torch']}.json").write_text(json.dumps(found, indent=1) + "\n")
    return int(status != 0 or passed != len(comparisons))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
