"""Training a recognizer by CTC, scored by its character error rate."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from spatial_lstm.handwriting.codec import Codec
from spatial_lstm.handwriting.data import Line, Lines, Parts
from spatial_lstm.handwriting.data.parts import PARTS
from spatial_lstm.handwriting.data.pictures import Gray
from spatial_lstm.handwriting.decoding import Decoder
from spatial_lstm.handwriting.metrics import Evaluation, Pair, evaluate
from spatial_lstm.handwriting.network import HandwritingRecognizer
from spatial_lstm.handwriting.reader import LineReader, describe, rebuild
from spatial_lstm.handwriting.training.augmentation import Augmentation
from spatial_lstm.handwriting.training.batches import Examples, LineBatch, LineBatches
from spatial_lstm.training import Checkpoint, Stage, Task


class HandwritingTask(Task[Stage, LineBatch]):
    """A recognizer and lines: trained on the training lines, scored by minus the character error rate on the validation lines.

    Args:
        model: To train.
        codec: Its characters.
        parts: The lines, with texts.
        augmentation: What is done to the training lines; None for nothing.
        met_before: Digests of the lines that the model was trained on before, see :func:`digest`.

    Attributes:
        reader: The model as one that reads.
        digests: By which the lines of each part are known again.

    Raises:
        ValueError: If there are no lines to train on or to choose by, or model and codec have different numbers of classes.
    """

    model: HandwritingRecognizer
    stage_type = Stage
    score = "minus the character error rate"

    def __init__(
        self,
        model: HandwritingRecognizer,
        codec: Codec,
        parts: Parts,
        augmentation: Augmentation | None = None,
        *,
        met_before: Collection[str] = (),
    ) -> None:
        for part in ("train", "validation"):
            if not len(getattr(parts, part)):
                raise ValueError(f"expected lines with texts for {part}, got none")
        self.reader = LineReader(model, codec)
        self.model = model.train()
        self.codec = codec
        self.parts = parts
        self.augmentation = augmentation
        self.examples = Examples(parts.train, codec, model.height)
        self.met_before = frozenset(met_before)
        self.digests: dict[str, list[str]] = {}
        self._data: dict[str, dict[str, Any]] = {}
        for part in PARTS:
            self._data[part], self.digests[part] = _known_by(getattr(parts, part), model.height)
        self._found: Evaluation | None = None

    @classmethod
    def restore(cls, checkpoint: Checkpoint, parts: Parts, device: torch.device | str = "cpu") -> HandwritingTask:
        """Return the task that a run was begun with.

        Raises:
            ValueError: If it was no recognizer's, or had other lines.
        """
        settings = checkpoint.task
        if checkpoint.model.get("kind") != HandwritingRecognizer.__name__ or "augmentation" not in settings:
            raise ValueError("expected a run that trains a recognizer of handwriting, got another")
        model, codec = rebuild(checkpoint.model)
        told = settings["augmentation"]
        changed = None if told is None else Augmentation.recorded(told)
        task = cls(model.to(device), codec, parts, changed, met_before=settings.get("met_before", ()))
        if other := [part for part in PARTS if task._data[part] != settings["data"][part]]:
            raise ValueError(f"expected the lines that the run was begun with, got others for {', '.join(other)}")
        return task

    def batches(self, stage: Stage, seed: Sequence[int]) -> LineBatches:
        return LineBatches(self.examples, stage.batch, seed=seed, augmentation=self.augmentation)

    def loss(self, batch: LineBatch) -> Tensor:
        """Return the mean over lines of nats per character."""
        return self.model.loss(batch.images, batch.widths, batch.targets, batch.target_lengths)

    def evaluate(self) -> float:
        """Return minus the character error rate on the validation lines."""
        self._found = self.errors("validation")
        return -self._found.total.cer

    def errors(self, part: str, decoder: Decoder | None = None) -> Evaluation:
        """Read the lines of ``"train"``, ``"validation"`` or ``"test"`` and compare."""
        lines: Lines = getattr(self.parts, part)
        return compared(lines, self.reader.texts(lines, decoder=decoder), self.codec)

    def words(self, score: float) -> str:
        """Return the character error rate in percent."""
        return f"CER {-100 * score:.2f} %"

    def details(self) -> Mapping[str, float]:
        """Return the error rates of the last evaluation, as fractions."""
        return {} if self._found is None else {"cer": self._found.total.cer, "wer": self._found.total.wer}

    def describe(self) -> dict[str, Any]:
        return describe(self.model, self.codec)

    def load(self, description: dict[str, Any]) -> None:
        self.model.load_state_dict(description["state"])

    def settings(self) -> dict[str, Any]:
        """Return what is done to lines, and by what the lines are known again."""
        return {
            "augmentation": None if self.augmentation is None else asdict(self.augmentation),
            "data": self._data,
            "digests": self.digests,
            "met_before": sorted(self.met_before),
        }


def compared(lines: Lines, texts: Sequence[str], codec: Codec) -> Evaluation:
    """The errors of texts that were read in lines.

    Raises:
        ValueError: If the lines have no texts to compare with.
    """
    pairs = [
        Pair(written, read, line.page, line.id) for line, written, read in zip(lines, lines.texts(), texts, strict=True)
    ]
    return evaluate(pairs, form=codec.form)


def digest(line: Line, height: int) -> str:
    """By what a line is known again, wherever its file is and whatever its text: its pixels at a height."""
    return _digest(line.image(height))


def fingerprint(lines: Lines, height: int) -> dict[str, Any]:
    """By what lines are known again, wherever their files are: their number, their texts and their widths at a height."""
    return _known_by(lines, height)[0]


def _known_by(lines: Lines, height: int) -> tuple[dict[str, Any], list[str]]:
    """The fingerprint of lines and the digest of each, for which each is looked at once."""
    whole, digests = hashlib.sha256(), []
    for line in lines:
        pixels = line.image(height)
        whole.update(f"{pixels.shape[1]} {line.text}\n".encode())
        digests.append(_digest(pixels))
    return {"lines": len(lines), "sha256": whole.hexdigest()}, digests


def _digest(pixels: Gray) -> str:
    return hashlib.sha256(f"{pixels.shape} ".encode() + pixels.tobytes()).hexdigest()[:16]
