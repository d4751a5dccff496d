"""A character model of the training texts, for the reader of a finished run."""

from __future__ import annotations

from collections.abc import Sequence

from spatial_lstm.handwriting.decoding import Language, best_weighting
from spatial_lstm.handwriting.reader import LineReader, learn_language
from spatial_lstm.handwriting.training.task import HandwritingTask, compared

# Validation lines that its weight is chosen by.
CHOOSING = 100


def with_language(task: HandwritingTask) -> LineReader:
    """Return the task's reader with what follows what in its training texts, weighted as reads the validation lines best."""
    codec = task.codec
    language = learn_language(task.parts.train.texts(), codec)
    lines = task.parts.validation
    lines = lines[:: -(-len(lines) // CHOOSING)]

    def errors(read: Sequence[tuple[int, ...]]) -> float:
        return compared(lines, [codec.decode(labels) for labels in read], codec).total.cer

    weighting = best_weighting(task.reader.log_probs(lines), errors, Language(language, codec.characters))
    return LineReader(task.model, codec, language=language, weighting=weighting)
