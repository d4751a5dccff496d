"""The table of versions of torch that were tried."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import versions


def test_a_row_for_each_torch_the_newest_first(tmp_path: Path) -> None:
    checked = {"passed": 395, "all": 396}
    for torch, triton in (("2.6.0", None), ("2.13.0", "3.7.1")):
        counts = {
            "layer": {"skipped": 2, "passed": 30, "failed": 1},
            "Triton": {"passed": 4} if triton else {"skipped": 4},
        }
        found = {"torch": torch, "triton": triton, "python": "3.10.1", "comparisons": checked, "tests": counts}
        (tmp_path / f"torch-{torch}.json").write_text(json.dumps(found))
    assert versions.section(tmp_path).splitlines() == [
        "| torch | Triton | Python | `check` | layer | Triton |",
        "| --- | --- | --- | ---: | ---: | ---: |",
        "| 2.13.0 | 3.7.1 | 3.10.1 | 395 of 396 | 30, 1 failed, 2 skipped | 4 |",
        "| 2.6.0 | none | 3.10.1 | 395 of 396 | 30, 1 failed, 2 skipped | 0, 4 skipped |",
    ]


def test_no_table_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected what .ci/versions found"):
        versions.section(tmp_path)


def test_the_readme_names_the_lowest_and_the_newest_that_were_tried() -> None:
    rows = versions.section().splitlines()[2:]
    newest, lowest = (row.split("|")[1].strip().rpartition(".")[0] for row in (rows[0], rows[-1]))
    readme = Path(versions.__file__).parents[1] / "README.md"
    assert f"torch {lowest} to {newest} ([versions]" in readme.read_text()
