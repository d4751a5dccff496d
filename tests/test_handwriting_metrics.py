"""Error rates, their intervals, pages, worst lines and confusions."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatial_lstm.handwriting import Errors, Pair, count_errors, evaluate
from spatial_lstm.handwriting.metrics_tables import markdown, to_dict


def distance(a: list[str] | str, b: list[str] | str) -> int:
    """Edits from one sequence to another, by the textbook's table."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        corner, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (x != y))
    return row[-1]


words = st.text("ab c", max_size=12)


@settings(max_examples=50, deadline=None)
@given(reference=words, hypothesis=words)
def test_errors_are_the_fewest_edits(reference: str, hypothesis: str) -> None:
    found = count_errors(reference, hypothesis)
    assert found.character_errors == distance(reference, hypothesis)
    assert found.word_errors == distance(reference.split(), hypothesis.split())
    assert (found.characters, found.words) == (len(reference), len(reference.split()))


def test_rates_are_totals_over_characters() -> None:
    """And not means over lines."""
    found = evaluate([Pair("a" * 99, "a" * 99), Pair("b", "c")])
    assert found.total == Errors(2, 100, 1, 2, 1)
    assert (found.total.cer, found.total.wer) == (0.01, 0.5)


def test_texts_are_compared_in_normal_form() -> None:
    assert evaluate([Pair("é  a", "e\u0301 a ")]).total.character_errors == 0
    assert evaluate([Pair("ﬁ", "fi")]).total.character_errors == 2
    assert evaluate([Pair("ﬁ", "fi")], form="NFKC").total.character_errors == 0


def test_confusions_name_what_was_written_and_what_was_read() -> None:
    found = evaluate([Pair("haus", "hans"), Pair("maus", "mans"), Pair("ab", "b"), Pair("ab", "a b")])
    assert found.confusions == {("u", "n"): 2, ("a", ""): 1, ("", " "): 1}
    assert sum(found.confusions.values()) == found.total.character_errors


def test_pages_and_lines_from_worst_to_best() -> None:
    pairs = [
        Pair("abcd", "abcd", "p", "1"),
        Pair("abcd", "abxx", "q", "2"),
        Pair("abcd", "abcx", "q", "3"),
        Pair("", "x"),
    ]
    found = evaluate(pairs)
    assert [(page, errors.characters, errors.character_errors) for page, errors in found.pages] == [
        (None, 0, 1),
        ("q", 8, 3),
        ("p", 4, 0),
    ]
    assert [pair.line for pair, _ in found.lines] == ["", "2", "3", "1"]
    assert math.isnan(found.pages[0][1].cer)


def pairs_of(pages: int, per_page: int) -> list[Pair]:
    """Pages that are read well or badly as a whole."""
    return [
        Pair("abcdefghij", "abcdefghij"[: 10 - page % 4], f"page {page}", str(k))
        for page in range(pages)
        for k in range(per_page)
    ]


def test_the_interval_is_that_of_the_bootstrap_over_pages() -> None:
    found = evaluate(pairs_of(40, 25), samples=4000)
    rates = [page % 4 / 10 for page in range(40)]
    error = np.std(rates) / math.sqrt(len(rates))
    low, high = found.cer_interval
    assert found.interval_over == "pages"
    assert low < found.total.cer < high
    assert abs((high - low) / (2 * 1.96 * error) - 1) < 0.1
    lines = evaluate([Pair(pair.reference, pair.hypothesis) for pair in pairs_of(40, 25)]).cer_interval
    assert lines[1] - lines[0] < (high - low) / 3


def test_fewer_than_five_pages_are_no_sample() -> None:
    assert evaluate(pairs_of(4, 5)).interval_over == "lines"
    assert evaluate(pairs_of(5, 5)).interval_over == "pages"
    assert evaluate([*pairs_of(5, 5), Pair("a", "a")]).interval_over == "lines"


def test_the_bootstrap_depends_on_its_seed_alone() -> None:
    pairs = pairs_of(10, 3)
    assert evaluate(pairs, seed=1) == evaluate(pairs, seed=1)
    assert evaluate(pairs, seed=1).cer_interval != evaluate(pairs, seed=2).cer_interval


def test_a_single_line_has_no_interval() -> None:
    found = evaluate([Pair("abcd", "abxd")])
    assert found.total.cer == 0.25
    assert to_dict(found)["cer_interval"] is None
    assert "| characters (CER) | 25.00 % | - | 1 | 4 |" in markdown(found)


def test_nothing_to_read_is_an_error() -> None:
    with pytest.raises(ValueError, match="got 1 lines without any"):
        evaluate([Pair(" ", "x")])
    with pytest.raises(ValueError, match="got 0 lines without any"):
        evaluate([])
    for samples, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError)):
        with pytest.raises(error, match="expected samples to be"):
            evaluate([Pair("a", "a"), Pair("b", "b")], samples=samples)  # type: ignore[arg-type]


def test_tables_for_people_and_programs() -> None:
    pairs = [Pair("a|b", "a b", "p 1", "l1"), Pair("", "x", "p 1", "l2"), Pair("cd", "cd", None, "l3")]
    found = evaluate(pairs)
    table = markdown(found)
    assert "| characters (CER) | 40.00 % |" in table
    assert "| p 1 | 2 | 3 | 66.67 % | 300.00 % |" in table
    assert "| not known | 1 | 2 | 0.00 % | 0.00 % |" in table
    assert "| p 1 l1 | 33.33 % | a\\|b<br>a b |" in table
    assert "| p 1 l2 | - | <br>x |" in table
    assert "| 1 | \\| (U+007C) | space |" in table
    assert "| 1 | nothing | x (U+0078) |" in table
    told = json.loads(json.dumps(to_dict(found, worst=1), allow_nan=False))
    assert told["cer"] == 0.4
    assert told["worst"][0]["cer"] is None
    assert told["confusions"][0] == {"written": "|", "read": " ", "count": 1}
