"""From probabilities to text: against all paths of tiny lines, one by one."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from itertools import groupby

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spatial_lstm.handwriting.decoding import (
    BeamSearch,
    Greedy,
    Language,
    NGram,
    Weighting,
    align,
    best_weighting,
    read_columns,
)
from tests.cases import assert_close

CHARACTERS = "abc"
TEXTS = ["abba", "cab", "abc", "", "bab ab", "abba"]


def random_columns(seed: int, columns: int = 5, classes: int = 3) -> NDArray[np.float64]:
    """Log-probabilities ``(columns, classes)``."""
    logits = 2 * np.random.default_rng(seed).standard_normal((columns, classes))
    found: NDArray[np.float64] = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return found


def written(path: tuple[int, ...]) -> tuple[int, ...]:
    """What a path reads: repetitions taken out, then blanks."""
    return tuple(label for label, _ in groupby(path) if label)


def all_texts(log_probs: NDArray[np.float64]) -> dict[tuple[int, ...], float]:
    """The probability of every text, as the sum over its paths."""
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        probability = math.exp(sum(row[label] for row, label in zip(log_probs, path, strict=True)))
        found[written(path)] = found.get(written(path), 0.0) + probability
    return found


def close(found: object, expected: object) -> None:
    assert_close([torch.tensor(found, dtype=torch.float64)], [torch.tensor(expected, dtype=torch.float64)])


@pytest.mark.parametrize("seed", range(4))
def test_beam_search_without_limits_finds_every_text_and_its_probability(seed: int) -> None:
    log_probs = random_columns(seed)
    expected = sorted(all_texts(log_probs).items(), key=lambda item: -item[1])
    found = BeamSearch(1000, least=0).ranked(log_probs)
    assert [labels for labels, _ in found] == [labels for labels, _ in expected]
    close([math.exp(score) for _, score in found], [probability for _, probability in expected])
    assert BeamSearch(1000, least=0)(log_probs) == expected[0][0]


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(("weight", "bonus"), [(0.7, 0.4), (2.0, 0.0), (0.0, 3.0)])
def test_beam_search_weighs_network_character_model_and_length(order: int, weight: float, bonus: float) -> None:
    log_probs, ngram = random_columns(3, 4, 4), NGram.learn(TEXTS, order=order)

    def score(labels: tuple[int, ...], probability: float) -> float:
        text = "".join(CHARACTERS[label - 1] for label in labels)
        return math.log(probability) + weight * ngram.log_prob(text) + bonus * len(text)

    expected = {labels: score(labels, probability) for labels, probability in all_texts(log_probs).items()}
    search = BeamSearch(1000, language=Language(ngram, CHARACTERS), weight=weight, bonus=bonus, least=0)
    found = search.ranked(log_probs)
    assert dict(found).keys() == expected.keys()
    close([score for _, score in found], [expected[labels] for labels, _ in found])
    assert found[0][0] == max(expected, key=expected.__getitem__)


def test_a_character_model_learnt_from_classes() -> None:
    language = Language.learn([[1, 2, 2, 1], [3, 1, 2], []], "abcd", order=3)
    expected = NGram.learn(["abba", "cab", ""], order=3, alphabet="abcd")
    for context in ("", "ab", "d"):
        close(language.log_probs(context), [expected.log_probs(context)[expected.places[c]] for c in "\nabcd"])
    assert language.extend(language.extend(language.extend("", 1), 2), 4) == "bd"


def test_a_narrow_beam_keeps_the_best() -> None:
    log_probs = np.log(np.array([[0.1, 0.85, 0.05], [0.9, 0.05, 0.05], [0.1, 0.85, 0.05]]))
    assert len(BeamSearch(2).ranked(log_probs)) == 2
    assert BeamSearch(1)(log_probs) == (1, 1)


def test_a_text_of_many_paths_wins_over_the_best_path() -> None:
    log_probs = np.log(np.array([[0.6, 0.4, 1e-9], [0.6, 0.4, 1e-9]]))
    assert Greedy()(log_probs) == ()
    assert BeamSearch(4)(log_probs) == (1,)


def test_long_lines_stay_in_the_range_of_floats() -> None:
    log_probs = np.log(np.full((1000, 200), 1 / 200))
    (_, score), *_ = BeamSearch(2).ranked(log_probs)
    assert math.isfinite(score)


@pytest.mark.parametrize("seed", range(4))
def test_greedy_takes_the_most_probable_path(seed: int) -> None:
    log_probs = random_columns(seed)
    best = max(
        itertools.product(range(3), repeat=5),
        key=lambda path: sum(row[label] for row, label in zip(log_probs, path, strict=True)),
    )
    assert Greedy()(log_probs) == written(best)


@pytest.mark.parametrize("labels", [(), (1,), (2, 2), (1, 2, 1), (1, 1, 1), (1, 2, 1, 2, 1)], ids=str)
def test_alignment_sums_over_all_paths_and_finds_the_best(labels: tuple[int, ...]) -> None:
    log_probs = random_columns(0)
    found = align(log_probs, labels)
    close(found.log_prob, math.log(all_texts(log_probs)[labels]))
    paths = [path for path in itertools.product(range(3), repeat=5) if written(path) == labels]
    best = max(paths, key=lambda path: sum(row[label] for row, label in zip(log_probs, path, strict=True)))
    places = [list(group) for label, group in groupby(range(5), key=lambda t: best[t]) if label]
    assert found.spans == tuple((group[0], group[-1] + 1) for group in places)


def test_a_text_longer_than_its_columns_has_no_place() -> None:
    with pytest.raises(ValueError, match="columns enough for 3 characters, got 4"):
        align(random_columns(0, 4), (1, 1, 1))


def test_a_reading_says_how_sure_it_is_and_where() -> None:
    probabilities = np.array([[0.1, 0.7, 0.2], [0.05, 0.9, 0.05], [0.8, 0.1, 0.1], [0.2, 0.2, 0.6]])
    reading = read_columns(torch.tensor(probabilities).log(), Greedy())
    assert reading.labels == (1, 2)
    assert reading.spans == ((0, 2), (3, 4))
    close(reading.characters, [0.9, 0.6])
    total = all_texts(np.log(probabilities))[1, 2]
    close([reading.log_prob, reading.confidence], [math.log(total), math.sqrt(total)])


def test_every_decoder_takes_tensors() -> None:
    log_probs = random_columns(0)
    own = torch.from_numpy(log_probs)
    assert align(own, (1, 2)) == align(log_probs, np.array([1, 2]))
    assert BeamSearch().ranked(own) == BeamSearch().ranked(log_probs)
    for decoder in (Greedy(), BeamSearch()):
        assert decoder(own) == decoder(log_probs) == read_columns(own, decoder).labels


@pytest.mark.parametrize(
    "call",
    [
        Greedy(),
        BeamSearch(),
        BeamSearch().ranked,
        lambda own: align(own, (1,)),
        lambda own: read_columns(own, Greedy()),
    ],
    ids=["greedy", "beam", "ranked", "align", "read"],
)
def test_every_decoder_refuses_what_are_no_log_probabilities(call: Callable[[object], object]) -> None:
    for shape in ((3,), (0, 4), (3, 1), (2, 3, 4)):
        with pytest.raises(ValueError, match=r"expected log-probabilities of shape \(T, classes\), got "):
            call(np.zeros(shape))
    for value in (0.0, np.nan, np.inf, -np.inf, 800.0):
        with pytest.raises(ValueError, match="expected log-probabilities that sum to one in every column"):
            call(np.full((3, 2), value))


@pytest.mark.parametrize("label", [0, -1, 3, 7])
def test_there_are_labels_of_characters_alone(label: int) -> None:
    with pytest.raises(ValueError, match=f"expected labels from 1 to 2, got {label}"):
        align(random_columns(0), (1, label))
    with pytest.raises(TypeError, match="expected labels to be an int, got float"):
        align(random_columns(0), (1.0,))  # type: ignore[arg-type]


def test_a_character_model_that_only_hurts_is_weighed_nothing() -> None:
    lines, ngram = [random_columns(seed, 8) for seed in range(4)], NGram.learn(["bbbbbbbb"])
    expected = [BeamSearch()(line) for line in lines]

    def errors(read: list[tuple[int, ...]]) -> float:
        return sum(one != other for one, other in zip(read, expected, strict=True))

    assert best_weighting(lines, errors, Language(ngram, "ab")) == Weighting(0.0, 0.0)


def test_a_line_of_paper_is_an_empty_reading() -> None:
    log_probs = torch.tensor([[0.0, -torch.inf, -torch.inf]] * 3, dtype=torch.float16)
    for decoder in (Greedy(), BeamSearch(3)):
        reading = read_columns(log_probs, decoder)
        assert (reading.labels, reading.confidence, reading.characters, reading.spans) == ((), 1.0, (), ())


@pytest.mark.parametrize("order", [1, 2, 3, 4, 8])
def test_probabilities_after_any_context_sum_to_one(order: int) -> None:
    ngram = NGram.learn(TEXTS, order=order, alphabet="xyz")
    contexts = ["", "a", "ab", "abb", "abba", "zzz", "?", "bab", "a?b", "bab ab"]
    rows = np.stack([ngram.log_probs(context) for context in contexts])
    assert rows.shape == (len(contexts), len("abc xyz") + 2)
    close(np.exp(rows).sum(1), np.ones(len(contexts)))
    assert bool((np.exp(rows) > 0).all())


def test_probabilities_of_a_bigram_model_by_hand() -> None:
    ngram = NGram.learn(["ab", "ac", "ab"], order=2)
    # Of pairs ^a 3, ab 2, ac 1, b$ 2, c$ 1: two once, two twice. After them each, by kinds: a 1, b 1, c 1, $ 2, as ^ precedes a alone.
    pairs, singles = 2 / (2 + 2 * 2), 3 / (3 + 2 * 1)
    uniform = 1 / 5
    b = (1 - singles) / 5 + 4 * singles / 5 * uniform
    close(ngram.log_probs("a")[ngram.places["b"]], math.log((2 - pairs) / 3 + 2 * pairs / 3 * b))
    close(ngram.log_probs("zb")[ngram.places["b"]], math.log(pairs / 2 * b))
    close(ngram.log_probs("?")[ngram.unknown], math.log(4 * singles / 5 * uniform))


def test_a_model_knows_its_own_language_better() -> None:
    ngram = NGram.learn(["der hund und die katze", "die katze und der hund", "der hund"], order=4)
    known, strange = (ngram.bits_per_character([text]) for text in ("die katze", "ezdat eki"))
    assert known < 2 < strange
    close(ngram.bits_per_character(["der", ""]), -(ngram.log_prob("der") + ngram.log_prob("")) / math.log(2) / 5)


def test_a_model_is_made_again_from_plain_values() -> None:
    ngram = NGram.learn(TEXTS, order=3, alphabet="é")
    again = NGram.from_dict(json.loads(json.dumps(ngram.to_dict())))
    for context in ("", "ab", "?"):
        close(again.log_probs(context), ngram.log_probs(context))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: NGram.learn([]), "lines to learn from, got none"),
        (lambda: NGram.learn(["a\nb"]), "without newlines"),
        (lambda: NGram.learn(["a"], order=0), "order to be positive"),
        (lambda: NGram(2, "a", {"abc": 1}), "n-grams of 2 characters.*'abc'"),
        (lambda: NGram(2, "a", {"ab": 1}), "end in 'b'"),
        (lambda: NGram(2, "aa", {"aa": 1}), "distinct characters"),
        (lambda: NGram.from_dict({"order": 2}), "order, alphabet and counts"),
        (lambda: NGram.learn(["a"]).bits_per_character([]), "expected lines, got none"),
        (lambda: Language(NGram.learn(["a"]), ["ab"]), "single characters, got 'ab'"),
        (lambda: BeamSearch(0), "width to be positive"),
        (lambda: BeamSearch(least=1.0), r"least in \[0, 1\)"),
        (lambda: BeamSearch(weight=-1.0), "weight of at least 0"),
        (
            lambda: BeamSearch(language=Language(NGram.learn(["a"]), "a"))(random_columns(0)),
            "1 characters.*got 3 classes",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
