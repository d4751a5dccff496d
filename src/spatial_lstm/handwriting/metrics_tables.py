"""An evaluation as Markdown and as plain values."""

from __future__ import annotations

import math
from collections.abc import Iterator

from spatial_lstm.handwriting.metrics import Errors, Evaluation


def markdown(evaluation: Evaluation, *, worst: int = 20, confusions: int = 30) -> str:
    """Tables of the rates with their intervals, the pages, the worst lines and the most frequent confusions."""
    parts = [_rates(evaluation), _pages(evaluation), _lines(evaluation, worst), _confused(evaluation, confusions)]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def to_dict(evaluation: Evaluation, *, worst: int = 20) -> dict[str, object]:
    """Return the same in plain values, for a JSON file; rates are fractions."""
    return {
        **_values(evaluation.total),
        "cer_interval": _interval(evaluation.cer_interval),
        "wer_interval": _interval(evaluation.wer_interval),
        "interval_over": evaluation.interval_over,
        "pages": [{"page": page, **_values(errors)} for page, errors in evaluation.pages],
        "worst": [
            {
                "page": pair.page,
                "line": pair.line,
                "reference": pair.reference,
                "hypothesis": pair.hypothesis,
                **_values(e),
            }
            for pair, e in evaluation.lines[:worst]
        ],
        "confusions": [
            {"written": written, "read": read, "count": count}
            for (written, read), count in evaluation.confusions.most_common()
        ],
    }


def between(interval: tuple[float, float]) -> str:
    """Bounds of a rate in percent, or a dash where they are not known."""
    return "-" if math.isnan(interval[0]) else " .. ".join(_percent(bound) for bound in interval)


def _interval(interval: tuple[float, float]) -> list[float] | None:
    """None where it is not known."""
    return None if math.isnan(interval[0]) else list(interval)


def _values(errors: Errors) -> dict[str, float | int | None]:
    """Counts and rates; None where there is nothing to read, which JSON has no number for."""
    return {
        "lines": errors.lines,
        "characters": errors.characters,
        "character_errors": errors.character_errors,
        "cer": errors.cer if errors.characters else None,
        "words": errors.words,
        "word_errors": errors.word_errors,
        "wer": errors.wer if errors.words else None,
    }


def _rates(evaluation: Evaluation) -> Iterator[str]:
    total = evaluation.total
    yield f"| {total.lines} lines | rate | 95 % (bootstrap over {evaluation.interval_over}) | errors | of |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    yield (
        f"| characters (CER) | {_percent(total.cer)} | {between(evaluation.cer_interval)} "
        f"| {total.character_errors} | {total.characters} |"
    )
    yield (
        f"| words (WER) | {_percent(total.wer)} | {between(evaluation.wer_interval)} "
        f"| {total.word_errors} | {total.words} |"
    )


def _pages(evaluation: Evaluation) -> Iterator[str]:
    yield "| page, worst first | lines | characters | CER | WER |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for page, errors in evaluation.pages:
        name = "not known" if page is None else _cell(page)
        yield f"| {name} | {errors.lines} | {errors.characters} | {_percent(errors.cer)} | {_percent(errors.wer)} |"


def _lines(evaluation: Evaluation, worst: int) -> Iterator[str]:
    yield "| line, worst first | CER | written, and below it read |"
    yield "| --- | ---: | --- |"
    for pair, errors in evaluation.lines[:worst]:
        name = " ".join(filter(None, (pair.page, pair.line))) or "-"
        yield f"| {_cell(name)} | {_percent(errors.cer)} | {_cell(pair.reference)}<br>{_cell(pair.hypothesis)} |"


def _confused(evaluation: Evaluation, confusions: int) -> Iterator[str]:
    yield "| count | written | read |"
    yield "| ---: | --- | --- |"
    for (written, read), count in evaluation.confusions.most_common(confusions):
        yield f"| {count} | {_character(written)} | {_character(read)} |"


def _percent(rate: float) -> str:
    return "-" if rate != rate else f"{100 * rate:.2f} %"


def _character(character: str) -> str:
    """A character that can be told from others in a table."""
    if not character:
        return "nothing"
    if character == " ":
        return "space"
    return f"{_cell(character)} (U+{ord(character):04X})"


def _cell(text: str) -> str:
    """Text as it may stand in a cell of a Markdown table."""
    for character in "\\|`*_<>&":
        text = text.replace(character, f"\\{character}")
    return text
