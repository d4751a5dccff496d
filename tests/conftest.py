"""Every test starts from the same seed, on poisoned memory; the C++ kernel is compiled by the first that needs it, never before.

``--support-matrix FILE`` writes what the tests found into FILE, between its two markers.
"""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from spatial_lstm.engine.kernels import KERNELS
from spatial_lstm.engine.kernels.cpp import library
from tests.cases import VARIANTS
from tests.compilers import Machine

BEGIN, END = "<!-- support:begin -->", "<!-- support:end -->"
OUTCOMES = pytest.StashKey[dict[str, dict[str, set[str]]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--support-matrix", metavar="FILE", help="write the support matrix into FILE, between its markers")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "support(feature): a row of the support matrix that this test speaks for")
    config.stash[OUTCOMES] = defaultdict(lambda: defaultdict(set))


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def poison() -> Iterator[None]:
    """Memory that nobody has written yet holds NaN, so that no kernel reads it unnoticed."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def cpp_kernel() -> None:
    """What a test asks for that cannot do without the C++ kernel."""
    reason = KERNELS["cpp"].unavailable()
    if reason is not None:
        pytest.skip(f"cpp: {reason}")


@pytest.fixture
def machine(cpp_kernel: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine without compilers and libraries, to put some on."""
    compiled = library.load()
    assert isinstance(compiled, ctypes.CDLL)
    machine = Machine.make(tmp_path, Path(compiled._name), monkeypatch)
    yield machine
    machine.restart()


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, Any, Any]:
    """Collecting must not compile, or load what was compiled."""

    def load() -> None:
        raise RuntimeError(
            "expected the C++ kernel to be asked for in tests and fixtures, not where tests are collected"
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "load", load)
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Note each outcome under its feature and cell; a test of no cell in particular speaks for all."""
    report = yield
    if report.when == "call" or report.outcome != "passed":
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        for mark in item.iter_markers("support"):
            for variant in [parameters["variant"]] if "variant" in parameters else VARIANTS:
                item.config.stash[OUTCOMES][mark.args[0]][variant].add(report.outcome)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    file = session.config.getoption("--support-matrix")
    if file:
        path = Path(file)
        head, rest = path.read_text().split(BEGIN)
        table = support_matrix(session.config.stash[OUTCOMES])
        path.write_text(f"{head}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}")


def support_matrix(outcomes: dict[str, dict[str, set[str]]]) -> str:
    rows = [["", *(f"`{variant}`" for variant in VARIANTS)], ["---"] + [":-:"] * len(VARIANTS)]
    words = {frozenset({"passed"}): "yes", frozenset({"skipped"}): "not tried"}
    for feature in sorted(outcomes, key=str.lower):
        found = (frozenset(outcomes[feature].get(variant, {"skipped"})) for variant in VARIANTS)
        rows.append([feature, *(words.get(outcome, "**no**") for outcome in found)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
