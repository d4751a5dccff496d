"""The worked example: its sums are true, its numbers the reference's, and the page that shows it is up to date."""

from __future__ import annotations

import argparse
import re
from math import tanh
from pathlib import Path

import numpy as np
import pytest

from spatial_lstm import reference
from spatial_lstm.cli import main
from spatial_lstm.cli import trace as command
from spatial_lstm.reference.worked_example import Example, lines
from spatial_lstm.reference.worked_example.notation import equation, plus, substitute

PAGE = Path(__file__).parents[1] / "docs" / "trace.md"
OPTIONS = [
    "",
    "--cell graves",
    "--cell graves --peephole --direction rf",
    "--cell stable --direction fr",
    "--extended --direction rr",
    "--hidden 2 --size 1x3 --extended",
    "--hidden 3 --size 2x1 --cell graves --peephole --seed 4",
    "--hidden 4 --size 3x4 --cell stable --target 0.2",
    "--hidden 2 --cell diagonal --direction fr",
]
every_option = pytest.mark.parametrize("options", OPTIONS, ids=[options or "default" for options in OPTIONS])


def arguments(options: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(options)


def printed(options: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert command.run(arguments(options)) == 0
    return capsys.readouterr().out


def equations(text: str) -> list[list[str]]:
    """The sides of every equation, its lines joined."""
    rows: list[str] = []
    for line in text.splitlines():
        if re.match(r"  \S+ += ", line):
            rows.append(line.strip())
        elif rows and re.match(r" {8,12}[=+-] ", line):
            rows[-1] += " " + line.strip()
    return [re.split(r" += ", row.split(",  ")[0]) for row in rows]


def value(side: str) -> float:
    return float(eval(side, {"tanh": tanh}))


def rounding(side: str) -> float:
    """How far off a side can be because its numbers have four digits: the changes when each is moved by half a unit, added up."""
    moved = 5e-4  # the most that half a unit of the fourth digit is, relative to the number
    total = 0.0
    for match in re.finditer(r"\d+\.\d+(e-\d+)?", side):
        other = f"{side[: match.start()]}{float(match[0]) * (1 + moved)!r}{side[match.end() :]}"
        total += abs(value(other) - value(side))
    return total


@every_option
def test_every_sum_that_is_printed_is_true(options: str, capsys: pytest.CaptureFixture[str]) -> None:
    checked = 0
    for _, *sides in equations(printed(options.split(), capsys)):
        numeric = [side for side in sides if not re.search(r"[a-zA-Z_]", re.sub(r"tanh|e-\d", "", side))]
        for side in numeric[:-1]:
            checked += 1
            assert value(side) == pytest.approx(
                value(numeric[-1]), abs=1.01 * (rounding(side) + rounding(numeric[-1]))
            ), sides
    assert checked > 50


@every_option
def test_fits_a_terminal_of_100_columns(options: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = printed(options.split(), capsys).splitlines()
    assert max(map(len, rows)) <= 100
    assert all(row == row.rstrip() for row in rows)


def test_numbers_are_those_of_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(3)
    example = Example.run(rng.normal(size=(2, 3)), cell="stable", direction="rf")
    text = "\n".join(lines(example))
    gradients = reference.backward(example.result, example.result.h - 1)
    of_h = [sides[-1] for sides in equations(text) if sides[0] == "h" and len(sides) > 2]
    order = example.lattice.sites()
    assert order[0] == (1, 0)
    assert of_h == [f"{example.result.h[0, 0][p]:.4g}" for p in order]
    of_x = [sides[-1] for sides in equations(text) if sides[0] == "dx"][1:]
    assert of_x == [f"{gradients.x[0, 0][p]:.4g}" for p in reversed(order)]
    table = text.splitlines()[-5:]
    assert [row.split()[1] for row in table] == [f"{g:.4g}" for g in gradients.weight_ih[:, 0]]
    assert [row.split()[3] for row in table] == [f"{g:.4g}" for g in gradients.weight_hh[:, 1]]


def test_every_site_and_gate_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed([], capsys)
    for site in ("(1,1)", "(1,2)", "(2,1)", "(2,2)"):
        assert len(re.findall(rf"^Site {re.escape(site)}", text, re.MULTILINE)) == 2  # forward and backward
    names = [sides[0] for sides in equations(text)]
    for name in ("i", "f_0", "f_1", "g", "o", "c", "h"):
        assert names.count(name) >= 4
    for name in ("cost", "dh", "dc", "di", "df_0", "df_1", "dg", "do", "dh_0", "dc_0", "dh_1", "dc_1", "dx"):
        assert names.count(name) >= 4


def test_an_output_peephole_is_shown_after_the_new_c(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(["--cell", "graves", "--peephole"], capsys)
    names = [sides[0] for sides in equations(text.split("== Forward")[1].split("== Backward")[0])]
    assert names[:8] == ["i", "f_0", "f_1", "g", "c", "o", "h", "cost"]


def test_the_page_shows_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    shown = re.findall(r"```text\n\$ python -m spatial_lstm trace ?(.*)\n((?:.*\n)*?)```", PAGE.read_text())
    assert shown
    for options, output in shown:
        assert output == printed(options.split(), capsys)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--peephole"], "expected no weight_peephole"),
        (["--cell", "stable", "--extended"], "expected no weight_ch"),
        (["--hidden", "0"], "expected hidden from 1 to 4, got 0"),
        (["--size", "10x2"], "expected an image of at most 9x9, got 10x2"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--image", "1 2; 3"], ["--image", "a"], ["--image", ""], ["--size", "0x2"]])
def test_what_is_no_image_is_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(options)
    assert "expected" in capsys.readouterr().err


def test_images_are_read_by_rows() -> None:
    np.testing.assert_array_equal(arguments(["--image", "1, 2 3; 4 5 6;"]).image, [[1, 2, 3], [4, 5, 6]])


def test_the_seed_alone_decides_a_random_image(capsys: pytest.CaptureFixture[str]) -> None:
    first = printed(["--size", "2x2", "--seed", "1"], capsys)
    assert first == printed(["--size", "2x2", "--seed", "1"], capsys)
    assert first != printed(["--size", "2x2", "--seed", "2"], capsys)


def test_symbols_are_replaced_longest_first() -> None:
    assert substitute("tanh(s(o)*c) - c_0*dc", {"s(o)": 0.5, "c": -2, "c_0": 3, "dc": -1}) == "tanh(0.5*(-2)) - 3*(-1)"
    assert substitute("(h - t)*h", {"h": -0.5, "t": 0.2}) == "(-0.5 - 0.2)*(-0.5)"
    assert plus(["(-0.5 - 0.2)*b"]) == "(-0.5 - 0.2)*b"
    assert plus(["-0.5*a", "", "(-2)", "b"]) == "-0.5*a - 2 + b"


def test_long_equations_break_before_operators() -> None:
    rows = equation("c", " + ".join(["term"] * 30), "1")
    assert all(len(row) <= 100 for row in rows)
    assert all(row.lstrip().startswith(("+", "=")) for row in rows[1:])
