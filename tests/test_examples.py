"""The examples run, and do what they say."""

from __future__ import annotations

import importlib
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from examples import arrow, shore

FOLDER = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if path.name != "__init__.py")
PROGRAMS = sorted(path.parent.name for path in FOLDER.glob("*/__main__.py"))


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a script, or a folder run as ``python -m examples.NAME``, prints; it runs in this process, which has torch already."""

    def run(program: str, *options: str) -> str:
        monkeypatch.setattr(sys, "argv", [program, *options])
        if program.endswith(".py"):
            runpy.run_path(str(FOLDER / program), run_name="__main__")
        else:
            runpy.run_module(f"examples.{program}", run_name="__main__", alter_sys=True)
        return capfd.readouterr().out

    return run


def test_tiles_equal_the_whole(printed: Callable[..., str]) -> None:
    found = re.search(r"from the whole (\S+)", printed("tiles.py", "--size", "50", "--tile", "16"))
    assert found
    assert float(found[1]) < 1e-6


def test_a_large_field_is_trained_and_streamed(printed: Callable[..., str]) -> None:
    shown = printed("large_field.py", "--size", "40", "--tile", "16", "--steps", "2")
    assert "step 2: loss" in shown
    found = re.search(r"from memory (\S+)", shown)
    assert found
    assert float(found[1]) < 1e-6


def test_inside_runs(printed: Callable[..., str]) -> None:
    assert re.search(r"right at \d+\.\d% of the pixels", printed("inside.py", "--steps", "2", "--size", "8"))


def test_arrow_runs(printed: Callable[..., str], tmp_path: Path) -> None:
    said = printed(
        "arrow.py",
        "--steps",
        "2",
        "--seeds",
        "1",
        "--images",
        "5",
        "--only",
        "ViT",
        "--picture",
        str(tmp_path / "arrow.png"),
    )
    assert re.search(r"ViT, [\d,]+ parameters, right at 48 x 48: \d+\.\d%; 80 x 80: \d+\.\d%\n", said)
    assert is_picture(tmp_path / "arrow.png")


@pytest.mark.parametrize("name", arrow.NAMES)
def test_every_network_answers_at_every_site(name: str) -> None:
    model = arrow.make(name)
    assert model(torch.zeros(2, 1, 48, 80)).shape == (2, 8, 12, 20)
    assert 29_000 < sum(parameter.numel() for parameter in model.parameters()) < 36_000


def test_shore_runs(printed: Callable[..., str], tmp_path: Path) -> None:
    options = ("--steps", "2", "--seeds", "1", "--size", "16", "--picture", str(tmp_path / "shore.png"))
    assert printed("shore.py", *options).count("of the pixels") == 2
    assert is_picture(tmp_path / "shore.png")


def test_the_shore_parts_the_image() -> None:
    images, marked = shore.draw(20, 32, torch.Generator().manual_seed(0))
    assert images.shape == marked.shape == (20, 1, 32, 32)
    assert all(0.05 < share < 0.95 for share in marked.mean((1, 2, 3)))
    sizes = [sum(p.numel() for p in shore.UNet(bottom).parameters()) for bottom in shore.BOTTOMS]
    assert max(sizes) < 1.05 * min(sizes)


def test_hollow_runs(printed: Callable[..., str], tmp_path: Path) -> None:
    said = printed("hollow.py", "--steps", "2", "--size", "8", "--picture", str(tmp_path / "hollow.png"))
    assert said.count("of the voxels") == 2
    assert is_picture(tmp_path / "hollow.png")


def test_spell_runs(printed: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    said = printed("spell.py", "--epochs", "1", "--picture", str(tmp_path / "spell.png"))
    assert said.count("of 450 words right") == 2
    assert is_picture(tmp_path / "spell.png")


def test_drawn_runs(printed: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    found = re.search(r"digits: (\S+) nats; pixels by themselves: (\S+)\n", printed("drawn.py", "--steps", "2"))
    assert found
    assert 20 < float(found[2]) < float(found[1])


def is_picture(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


def test_a_field_is_trained_over_processes(printed: Callable[..., str]) -> None:
    found = re.search(
        r"over 2 processes: right at (\d+\.\d)%", printed("over_processes.py", "--size", "24", "--steps", "25")
    )
    assert found
    assert float(found[1]) > 60


def test_every_example_is_tried() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in SCRIPTS if f'"{name}"' not in tests] == []
    assert [name for name in PROGRAMS if f"from examples.{name}" not in tests] == []
    assert "digits" in PROGRAMS


@pytest.mark.parametrize("program", [*SCRIPTS, *PROGRAMS])
def test_help_and_first_lines_say_how_to_run(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    is_script = program.endswith(".py")
    module = importlib.import_module(f"examples.{program.removesuffix('.py')}" + ("" if is_script else ".__main__"))
    monkeypatch.setattr(sys, "argv", [program, "--help"])
    with pytest.raises(SystemExit, match="0"):
        module.main()
    assert "--help" in capsys.readouterr().out
    how = f"python examples/{program}" if is_script else f"python -m examples.{program}"
    assert how in (module.__doc__ or "")
