"""The commands: what they print, and how they end."""

from __future__ import annotations

import errno
import subprocess
import sys
import warnings
from types import ModuleType

import pytest

import spatial_lstm
from spatial_lstm import equality
from spatial_lstm.cli import COMMANDS, DEFAULT, check, main
from spatial_lstm.engine.kernels import KERNELS, Results
from spatial_lstm.engine.problem import Problem
from tests.commands import refused


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check two cells on one axis alone."""
    monkeypatch.setattr(equality, "VARIANTS", {name: equality.VARIANTS[name] for name in ("spatial", "stable")})
    monkeypatch.setattr(equality, "FIELDS", {1: equality.FIELDS[1]})


def test_module_runs() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "spatial_lstm", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout == f"spatial_lstm {spatial_lstm.__version__}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["fly"])
    assert "invalid choice: 'fly'" in capsys.readouterr().err


def test_without_a_command_the_main_job_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(COMMANDS[DEFAULT], "run", lambda args: 7)
    assert main([]) == 7


def end_with(error: BaseException, monkeypatch: pytest.MonkeyPatch, module: ModuleType = check) -> int:
    def run(args: object) -> int:
        raise error

    monkeypatch.setattr(module, "run", run)
    return main(["check"])


def test_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert end_with(KeyboardInterrupt(), monkeypatch) == 130
    assert "interrupted" in capsys.readouterr().err


def test_what_the_system_refuses_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end_with(OSError(errno.EROFS, "Read-only file system", "figures.json"), monkeypatch) == 2
    assert capsys.readouterr().err == f"check: [Errno {errno.EROFS}] Read-only file system: 'figures.json'\n"


def test_missing_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert end_with(ModuleNotFoundError(name="tqdm"), monkeypatch) == 2
    assert "pip install 'spatial-lstm[demo]'" in capsys.readouterr().err


def test_warnings_are_told_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(args: object) -> int:
        warnings.warn("some images are small", stacklevel=1)
        return 0

    monkeypatch.setattr(check, "run", run)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        shown = warnings.showwarning
        assert main(["check"]) == 0
        assert warnings.showwarning is shown
    assert capsys.readouterr().err == "check: some images are small\n"


def test_other_missing_modules_are_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModuleNotFoundError):
        end_with(ModuleNotFoundError(name="torch"), monkeypatch)


@pytest.mark.usefixtures("small")
def test_check_prints_every_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    missing = {state for state in spatial_lstm.backends().values() if state != "available"}
    assert len(lines) == 2 + 4 + len(missing) + 1
    assert lines[2].split()[:7] == ["spatial", "1", "f", "cpu", lines[2].split()[4], "/", "1e-12"]
    assert {line.partition(": ")[2] for line in lines[6:-1]} == missing
    assert "within their bounds" in lines[-1]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("wrong", [1e-9, float("nan")])
def test_check_fails_where_a_backend_falls_short(
    wrong: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = KERNELS["plain"]
    right = kernel.forward

    def forward(problem: Problem, keep: str) -> Results:
        results = right(problem, keep)
        return results._replace(output=results.output + wrong)

    monkeypatch.setattr(kernel, "forward", forward)
    assert main(["check"]) == 1
    assert "FAILED: backend plain, cell spatial, axes 1" in capsys.readouterr().out


def test_check_on_a_device_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--device", "abacus"]) == 2
    assert "expected a device of this machine, got 'abacus'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["train-ride", "--data", ""],
        ["train-ride", "--out", ""],
        ["train-htr", "--data", "a", ""],
        ["train-htr", "--data", "a", "--load", ""],
        ["test-htr", "model", "--data", ""],
        ["score", "model", "--data", ""],
        ["sample", "model", "--out", ""],
        ["inpaint", "model", "", "mask"],
        ["read", "model", ""],
        ["publish", "", "folder"],
    ],
    ids=" ".join,
)
def test_no_empty_text_is_taken_for_the_current_folder(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """As a shell's variable that is not set would be."""
    assert "expected a path, got an empty text" in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["trace", "--target", "nan"], "expected a number, got nan"),
        (["trace", "--seed", "-1", "--size", "2x2"], "expected a whole number of at least 0, got -1"),
        (["check", "--device", "meta"], "expected a device of this machine, got 'meta'"),
    ],
)
def test_numbers_and_devices_that_are_none(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told in refused(capsys, *arguments)
