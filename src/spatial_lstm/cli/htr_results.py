"""What a finished run of a reader of handwriting tells and leaves: ``result.json``, its record in the model file, pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spatial_lstm.cli.runs import RESULT, write_result
from spatial_lstm.cli.scores import versions

if TYPE_CHECKING:
    from spatial_lstm.cli.htr_data import Given
    from spatial_lstm.handwriting import Evaluation
    from spatial_lstm.handwriting.data import Lines
    from spatial_lstm.handwriting.training import HandwritingTask
    from spatial_lstm.training import Trainer

# Lines in the picture.
SHOWN = 12


def keep(trainer: Trainer[HandwritingTask], given: Given, folder: Path, *, threads: int, pictures: bool) -> int:
    """Read the validation and test lines with the best weights, also with their language; tell the error rates; write what a run leaves."""
    from spatial_lstm.handwriting.metrics_tables import to_dict
    from spatial_lstm.handwriting.training import with_language
    from spatial_lstm.training import BEST, METRICS

    task = trainer.task
    found = {name: task.errors(name) for name in ("validation", "test") if len(getattr(task.parts, name))}
    reader = with_language(task)
    search = reader.beam_search(language=True)
    helped = {name: task.errors(name, search) for name in found}
    print("\n".join(rates({**found, **{f"{name}, with --language": own for name, own in helped.items()}})))
    result = {
        **{name: to_dict(evaluation) for name, evaluation in found.items()},
        "language": {**reader.weighting._asdict(), **{name: to_dict(own) for name, own in helped.items()}},
        "model": task.model.config(),
        "parameters": sum(p.numel() for p in task.model.parameters()),
        "characters": len(task.codec.characters),
        "steps": trainer.state.total,
        "seconds": round(trainer.state.seconds, 3),
        "threads": threads,
        "device": str(task.device),
        "data": {
            **task.settings()["data"],
            "read": {name: report.to_dict() for name, report in given.reports.items()},
            "notes": given.notes,
        },
        "options": trainer.notes,
        "versions": versions(),
    }
    write_result(folder, result, reader.language_record())
    written = [BEST, METRICS, RESULT]
    if pictures:
        written += _draw(folder, task)
    print(f"wrote {', '.join(written)} to {folder}; test-htr and read take the model from there")
    return 0


def rates(found: dict[str, Evaluation]) -> Iterator[str]:
    """A Markdown table of error rates with their intervals, by what was read."""
    from spatial_lstm.handwriting.metrics_tables import between

    yield "| | lines | CER | 95 % | WER | 95 % |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, evaluation in found.items():
        total = evaluation.total
        cer, wer = (f"{100 * rate:.2f} %" for rate in (total.cer, total.wer))
        lies = between(evaluation.cer_interval), between(evaluation.wer_interval)
        yield f"| {name} | {total.lines} | {cer} | {lies[0]} | {wer} | {lies[1]} |"


def _draw(folder: Path, task: HandwritingTask) -> list[str]:
    """Draw the curve and lines with what was read; return the names of the files."""
    from spatial_lstm.handwriting.training.pictures import draw_readings
    from spatial_lstm.training import METRICS, read_metrics
    from spatial_lstm.training.curve import learning_curve

    metrics: list[dict[str, Any]] = [
        {**line, "validation": 100 * line["cer"]} for line in read_metrics(folder / METRICS) if "cer" in line
    ]
    written = []
    if metrics:
        learning_curve(folder / "curve.png", metrics, "character error rate, %")
        written.append("curve.png")
    shown = spread(task.parts.test or task.parts.validation)
    draw_readings(folder / "lines.png", shown, task.reader.texts(shown))
    return [*written, "lines.png"]


def spread(lines: Lines, count: int = SHOWN) -> Lines:
    """At most so many lines, from all over."""
    return lines[:: -(-len(lines) // count)] if len(lines) > count else lines
