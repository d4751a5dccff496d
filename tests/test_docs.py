"""What the README and the site show does what they say."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
import torch

from benchmarks import tables
from spatial_lstm import cli
from spatial_lstm.cli import htr_options
from spatial_lstm.image_models.data import named

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)]
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in some languages."""
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```$", page.read_text(), re.S | re.M)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page one after the other, as a reader would type them, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": page.stem}
    with contextlib.redirect_stdout(io.StringIO()):
        for block in blocks(page, "python"):
            exec(compile(block, str(page), "exec"), names)


PROGRAMS = ("python -m spatial_lstm ", "spatial-lstm ")
COMMANDS = [
    (page, line)
    for page in PAGES
    for block in blocks(page, "bash", "console")
    for line in block.splitlines()
    if line.startswith(PROGRAMS)
]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda value: value if isinstance(value, str) else value.stem)
def test_commands_are_understood(page: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command line on a page, as far as its options: nothing is run."""
    ran: list[argparse.Namespace] = []
    for module in set(cli.COMMANDS.values()):
        monkeypatch.setattr(module, "run", lambda args: ran.append(args) or 0)
    words = shlex.split(line.removeprefix(PROGRAMS[0]).removeprefix(PROGRAMS[1]), comments=True)
    if "--help" in words:
        with pytest.raises(SystemExit, match="0"):
            cli.main(words)
    else:
        assert cli.main(words) == 0
        assert len(ran) == 1


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda value: value if isinstance(value, str) else value.stem)
def test_folders_in_commands_are_no_data_sets(page: Path, line: str) -> None:
    """Whose names they would be taken for."""
    folders = re.findall(r"--(?:data|validation|test) (\S+)", line)
    assert [name for name in folders if name in (*named.NAMES, *htr_options.NAMES)] == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    """Pictures and pages by their paths; Sphinx checks what stands behind a #."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.S | re.M)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), target


def test_ten_lines_give_the_whole() -> None:
    names: dict[str, torch.Tensor] = {}
    exec(blocks(ROOT / "README.md", "python")[0], names)
    whole = names["tile"](names["images"])[0]  # type: ignore[operator]
    assert torch.equal(names["output"], whole[..., 30:])


def test_pictures_are_small() -> None:
    large = [path.name for path in (ROOT / "docs" / "pictures").iterdir() if path.stat().st_size > 150_000]
    assert large == []


def test_the_readme_is_of_one_screen() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= 600
    assert [t for t in re.findall(r"\]\(([^)]+)\)", text) if not t.startswith("https://")] == []


def test_two_blocks_of_commands() -> None:
    install, tests = blocks(ROOT / "README.md", "bash")
    assert install.rstrip().endswith("python -m spatial_lstm")
    assert tests.rstrip().endswith("python -m pytest")


def test_tables_are_those_of_the_results() -> None:
    stale = [path.name for path, text in tables.texts().items() if path.read_text() != text]
    assert stale == [], "python -m benchmarks.tables"
