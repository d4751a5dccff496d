"""A trained network with what it takes to read with it: one file, pictures of lines in, texts out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatial_lstm.arguments import check_positive_int
from spatial_lstm.handwriting.codec import Codec
from spatial_lstm.handwriting.data.line import Line
from spatial_lstm.handwriting.data.pictures import Gray, check_gray, normalize
from spatial_lstm.handwriting.decoding import BeamSearch, Decoder, Greedy, Language, NGram, Weighting, read_columns
from spatial_lstm.handwriting.network import HandwritingRecognizer
from spatial_lstm.training import files, read_model

# What the network was told a line looks like: :func:`spatial_lstm.handwriting.data.normalize`.
INPUT = "paper 0, ink 1"
# Lines are padded to multiples of this, in pixels: fewer shapes, for which memory is kept.
STEP = 64
Track = Callable[[Sequence[int]], Iterable[int]]


@dataclass(frozen=True)
class Transcription:
    """What was read in a line.

    Attributes:
        text: In the order of reading, in the codec's normal form.
        confidence: The network's probability of the characters together, for each: its geometric mean, from 0 to 1.
        characters: Each character that the network read with its own confidence, from left to right on the paper; the normal form may make
            one of two of them, and leave out a space.
    """

    text: str
    confidence: float
    characters: tuple[tuple[str, float], ...]


class LineReader:
    """Reads pictures of lines.

    Args:
        model: The network.
        codec: Its characters.
        record: How the model came about, as far as its file says.
        language: What characters follow which, in the order on paper; None where that was not learnt.
        weighting: How much that has to say.

    Raises:
        ValueError: If network and codec have different numbers of classes.

    Example:
        >>> reader = LineReader(HandwritingRecognizer(3, height=16), Codec("ab"))
        >>> (found,) = reader.read([torch.zeros(20, 90, dtype=torch.uint8).numpy()])
        >>> set(found.text) <= set("ab")
        True
    """

    def __init__(
        self,
        model: HandwritingRecognizer,
        codec: Codec,
        record: dict[str, Any] | None = None,
        language: NGram | None = None,
        weighting: Weighting | None = None,
    ) -> None:
        if model.classes != codec.classes:
            raise ValueError(f"expected a codec of {model.classes} classes, got {codec.classes}")
        self.model = model
        self.codec = codec
        self.record = record or {}
        self.language = language
        self.weighting = weighting or Weighting()

    @classmethod
    def load(cls, path: Path | str) -> LineReader:
        """Open a model file, the best model in a run's folder, or a published model's folder.

        Raises:
            ValueError: If there is none, it cannot be read, or it is no recognizer's.
        """
        file, content = read_model(Path(path))
        description = content.pop("model", None)
        if not isinstance(description, dict) or description.get("kind") != HandwritingRecognizer.__name__:
            raise ValueError(f"expected a model that reads handwriting, got {file}, which holds another")
        kept = ("score", "unit", "steps", "task", "notes", "version", "result")
        record = {name: content[name] for name in kept if name in content}
        try:
            language = NGram.from_dict(content["language"]) if "language" in content else None
            return cls(*rebuild(description), record, language, Weighting(*content.get("weighting", ())))
        except (KeyError, TypeError, RuntimeError) as error:
            reason = " ".join(" ".join(str(error).splitlines()[:2]).split())
            raise ValueError(f"expected the weights of a model that reads handwriting, got {file}: {reason}") from error

    def save(self, path: Path | str) -> None:
        """Write one file that :meth:`load` opens, with everything that reading takes; in the place of an older one."""
        files.save(Path(path), {"model": describe(self.model, self.codec), **self.record, **self.language_record()})

    def language_record(self) -> dict[str, Any]:
        """Return what a model file says of the character model: plain values."""
        if self.language is None:
            return {}
        return {"language": self.language.to_dict(), "weighting": list(self.weighting)}

    def beam_search(self, width: int = 16, *, language: bool = False) -> BeamSearch:
        """Return a decoder for :meth:`read`: of the most probable text, with ``language`` also by what follows what in the training texts.

        Raises:
            ValueError: If that was not learnt, as in a run that is not finished.
        """
        if not language:
            return BeamSearch(width)
        if self.language is None:
            raise ValueError(
                "expected a model with a character model of its texts, got one without: is its run finished?"
            )
        own = Language(self.language, self.codec.characters)
        return BeamSearch(width, language=own, weight=self.weighting.weight, bonus=self.weighting.bonus)

    def read(
        self, lines: Sequence[Line | Gray], *, decoder: Decoder | None = None, batch: int = 16, track: Track = iter
    ) -> list[Transcription]:
        """Read lines.

        Args:
            lines: Each a line, or its gray values ``(height, width)``, uint8, at any height.
            decoder: Which text to take of many; None for :class:`~spatial_lstm.handwriting.decoding.Greedy`.
            batch: Lines that are read at a time.
            track: Called with the places of the lines, gives them back one by one: the place for a progress bar.

        Raises:
            TypeError: If pixels are of another type, or batch is no int.
            ValueError: If a picture is empty or broken, or batch is not positive.
        """
        found: dict[int, Transcription] = {}
        for place, columns in self._columns(lines, batch, track):
            reading = read_columns(columns, decoder or Greedy())
            characters = [self.codec.characters[label - 1] for label in reading.labels]
            told = tuple(zip(characters, reading.characters, strict=True))
            found[place] = Transcription(self.codec.decode(reading.labels), reading.confidence, told)
        return [found[place] for place in range(len(lines))]

    def texts(self, lines: Sequence[Line | Gray], *, decoder: Decoder | None = None, batch: int = 16) -> list[str]:
        """The texts alone, which is faster; arguments and errors are those of :meth:`read`."""
        decode = decoder or Greedy()
        return [self.codec.decode(decode(columns)) for columns in self.log_probs(lines, batch=batch)]

    def log_probs(self, lines: Sequence[Line | Gray], *, batch: int = 16) -> list[NDArray[np.float64]]:
        """What a decoder takes of each line, ``(T, classes)``; arguments and errors are those of :meth:`read`."""
        found = {place: columns.double().numpy() for place, columns in self._columns(lines, batch)}
        return [found[place] for place in range(len(lines))]

    def _columns(self, lines: Sequence[Line | Gray], batch: int, track: Track = iter) -> Iterator[tuple[int, Tensor]]:
        """The log-probabilities of each line, ``(T, classes)`` on the CPU, with its place; lines of similar width together."""
        check_positive_int("batch", batch)
        height = self.model.height
        widths = [_width(line, height) for line in lines]
        places: list[int] = []
        with _evaluating(self.model):
            for place in track(sorted(range(len(lines)), key=widths.__getitem__)):
                places.append(place)
                if len(places) == batch:
                    yield from self._batch(lines, places)
                    places = []
            yield from self._batch(lines, places)

    @torch.no_grad()
    def _batch(self, lines: Sequence[Line | Gray], places: Sequence[int]) -> list[tuple[int, Tensor]]:
        if not places:
            return []
        images, widths = stacked([pixels(lines[place], self.model.height) for place in places])
        like = self.model.output.weight
        log_probs, lengths = self.model(images.to(like.device, like.dtype), widths)
        log_probs = log_probs.cpu()
        return [(place, log_probs[k, :length]) for k, (place, length) in enumerate(zip(places, lengths, strict=True))]


def learn_language(texts: Iterable[str], codec: Codec) -> NGram:
    """What characters follow which in some texts, in the order on paper.

    Raises:
        ValueError: If there are no texts.
    """
    on_paper = ("".join(codec.characters[k - 1] for k in codec.encode(text, skip_unknown=True)) for text in texts)
    return NGram.learn(on_paper, alphabet=codec.characters)


def describe(model: HandwritingRecognizer, codec: Codec) -> dict[str, Any]:
    """Plain values, and a copy of the weights on the CPU."""
    return {
        "kind": HandwritingRecognizer.__name__,
        "config": model.config(),
        "codec": codec.to_dict(),
        "input": INPUT,
        "state": {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()},
    }


def rebuild(description: dict[str, Any]) -> tuple[HandwritingRecognizer, Codec]:
    """The network and the codec that :func:`describe` described.

    Raises:
        ValueError: If the network takes its lines in another form.
        KeyError: If something is missing.
        RuntimeError: If the weights do not fit.
    """
    if description["input"] != INPUT:
        raise ValueError(f"expected a network that takes lines as {INPUT!r}, got {description['input']!r}")
    model = HandwritingRecognizer(**description["config"])
    model.to(description["state"]["output.weight"].dtype).load_state_dict(description["state"])
    return model, Codec.from_dict(description["codec"])


def pixels(line: Line | Gray, height: int) -> Tensor:
    """What the network takes of a line, ``(1, height, width)``."""
    return normalize(line.image(height) if isinstance(line, Line) else line, height)


def stacked(images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Lines ``(1, height, width)`` as a batch ``(N, 1, height, W)`` with paper on the right, and their widths ``(N,)``."""
    widths = torch.tensor([image.shape[2] for image in images], device="cpu")
    found = images[0].new_zeros(len(images), 1, images[0].shape[1], -(-int(widths.max()) // STEP) * STEP)
    for place, image in enumerate(images):
        found[place, :, :, : image.shape[2]] = image
    return found, widths


def _width(line: Line | Gray, height: int) -> float:
    """At a height; about, where the pixels are at another one; errors as :func:`normalize`'s."""
    image = line.image(height) if isinstance(line, Line) else line
    check_gray(image)
    return float(image.shape[1] * height / image.shape[0])


@contextmanager
def _evaluating(model: HandwritingRecognizer) -> Iterator[None]:
    """In evaluation; then every module is as it was, those that are frozen in a model that trains, too."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
