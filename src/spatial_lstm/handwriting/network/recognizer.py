"""The network that reads lines."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spatial_lstm import SizedModule
from spatial_lstm.arguments import check_positive_int, check_probability, refuse_other
from spatial_lstm.handwriting.codec import BLANK
from spatial_lstm.handwriting.network.architectures import ARCHITECTURES, Choices
from spatial_lstm.handwriting.network.ctc import check_targets, columns_needed, ctc_loss, whole


class HandwritingRecognizer(nn.Module):
    """Images of text lines to probabilities of characters, column by column; after Graves & Schmidhuber, 2009.

    A padded batch gives what each line gives alone; in training the convolutions of ``"default"`` are normalized over the lines of a batch.

    Args:
        classes: Characters and the blank, which is class 0.
        architecture: ``"default"``: three strided convolutions, a two-dimensional LSTM layer, another convolution and a
            bidirectional LSTM over the columns. ``"graves"``: a hierarchy of three two-dimensional layers and tanh blocks, summed over the
            height; ``"graves-2009"`` with the paper's own few units. ``"default-convolutions"`` and ``"default-sequences"``:
            controls, with convolutions or 1-D layers of about as many parameters in the place of the two-dimensional layer.
        height: Of the images, pixels.
        cell: Of the two-dimensional layers; see :class:`~spatial_lstm.SpatialLSTM`.
        directions: Of the two-dimensional layers.
        dropout: Probability of dropout before the layers on columns.

    Inputs: images, widths
        - images: ``(N, 1, height, W)``, 0 for paper and up to 1 for ink, in the parameters' dtype. What is right of a line's own width
          does not matter.
        - widths: ``(N,)`` integers, pixels; kept on the CPU they cost no synchronization. A line too narrow for one column is
          continued with paper.

    Outputs: log_probs, lengths
        - log_probs: ``(N, T, classes)``; the blank for certain beyond a line's own columns.
        - lengths: ``(N,)``, each line's columns, int64 on the CPU.

    Raises:
        ValueError: If an option, a shape, a dtype, a device or a width does not fit, widths have no values, or a batch in training is a
            single site, of which there are no statistics.
        TypeError: If an argument is of a wrong kind.

    Example:
        >>> recognizer = HandwritingRecognizer(80)
        >>> log_probs, lengths = recognizer(torch.zeros(2, 1, 48, 600), torch.tensor([600, 350]))
        >>> log_probs.shape, lengths.tolist()
        (torch.Size([2, 150, 80]), [150, 88])
    """

    def __init__(
        self,
        classes: int,
        *,
        architecture: str = "default",
        height: int = 48,
        cell: str = "stable",
        directions: str | Sequence[str] = "all",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive_int("classes", classes)
        check_positive_int("height", height)
        check_probability("dropout", dropout)
        if architecture not in ARCHITECTURES:
            raise ValueError(f"expected architecture to be one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
        if classes < 2:
            raise ValueError(f"expected at least 2 classes, the blank and a character, got {classes}")
        self.classes = classes
        self.architecture = architecture
        self.height = height
        self.cell = cell
        self.directions = directions if isinstance(directions, str) else tuple(directions)
        self.dropout = dropout
        self.features, features = ARCHITECTURES[architecture](Choices(height, cell, self.directions, dropout))
        self.output = nn.Linear(features, classes)
        if not self._count(100 * height):
            raise ValueError(f"expected a height that is enough for architecture {architecture!r}, got {height}")
        self._least = self.least_width(1)

    def forward(self, images: Tensor, widths: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and lengths; see the class."""
        widths = self._check(images, widths)
        return self._columns_of(images, widths, widths.clamp(min=self._least))

    def loss(self, images: Tensor, widths: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
        """Return the mean over lines of nats per character (CTC); 0 for no lines.

        A line that is too narrow for its text is continued with paper until it is not: no line's loss is infinite, and none is left out.
        :func:`columns_needed`, beside :meth:`columns`, says which these are.

        Args:
            images: As for the network.
            widths: As for the network.
            targets: Classes of the characters, ``(N, L)``, integers from 1.
            target_lengths: Characters of each line, ``(N,)``.

        Raises:
            ValueError: If shapes or values do not fit.
            TypeError: If an argument is of a wrong kind.
        """
        widths = self._check(images, widths)
        targets, target_lengths = check_targets(targets, target_lengths, len(images), self.classes)
        needed = columns_needed(targets, target_lengths)
        enough = widths.clone()
        for line in (self.columns(widths) < needed).nonzero().flatten().tolist():
            enough[line] = self.least_width(int(needed[line]))
        log_probs, lengths = self._columns_of(images, widths, enough)
        return ctc_loss(log_probs, lengths, targets.to(log_probs.device), target_lengths)

    def columns(self, widths: Tensor) -> Tensor:
        """Return how many columns lines of these widths ``(N,)`` have, int64; 0 for one that is too narrow for any.

        Raises:
            TypeError: If the widths are no tensor of integers.
        """
        widths = whole("widths", widths)
        return self.features.extents(torch.stack([torch.full_like(widths, self.height), widths], dim=1)).squeeze(1)

    def least_width(self, columns: int) -> int:
        """Return the width from which on a line has so many columns, pixels."""
        enough = 1
        while self._count(enough) < columns:
            enough *= 2
        return bisect_left(range(enough), columns, lo=1, key=self._count)

    def config(self) -> dict[str, Any]:
        """Return the arguments that make such a network."""
        directions = self.directions if isinstance(self.directions, str) else list(self.directions)
        names = ("classes", "architecture", "height", "cell", "dropout")
        return {**{name: getattr(self, name) for name in names}, "directions": directions}

    def grown(self, classes: int) -> HandwritingRecognizer:
        """Return a copy with more classes, those it has being kept: for fine-tuning with new characters.

        A new class starts with weights of zero and the least bias there is, so that it is not read before it is learnt.

        Raises:
            ValueError: If they are fewer.
        """
        if classes < self.classes:
            raise ValueError(f"expected at least the {self.classes} classes that there are, got {classes}")
        like = self.output.weight
        with like.device:
            larger = HandwritingRecognizer(**{**self.config(), "classes": classes}).to(like.dtype)
        larger.features.load_state_dict(self.features.state_dict())
        with torch.no_grad():
            larger.output.weight.zero_()
            larger.output.bias.fill_(float(self.output.bias.min()))
            larger.output.weight[: self.classes] = self.output.weight
            larger.output.bias[: self.classes] = self.output.bias
        for name, module in self.named_modules():
            larger.get_submodule(name).training = module.training
        return larger

    def _columns_of(self, images: Tensor, own: Tensor, widths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities and lengths of lines with paper from their own widths up to ``widths``, which may be beyond the images."""
        widest = int(widths.max()) if len(widths) else images.shape[3]
        images = nn.functional.pad(images, (0, widest - images.shape[3]))  # a copy, even where it is as wide
        for line in (own < widths).nonzero().flatten().tolist():
            images[line, ..., int(own[line]) :] = 0.0
        sizes = torch.stack([torch.full_like(widths, self.height), widths], dim=1)
        if not len(widths):
            features, lengths = self.features(images, sizes)
            return self.output(features.transpose(1, 2)).log_softmax(2), lengths.squeeze(1)
        columns = [features[0].T for features in self.features.images(images, sizes)]  # (T, features) each
        counts = [len(own) for own in columns]
        log_probs = self.output(torch.cat(columns)).log_softmax(1).split(counts)
        certain = log_probs[0].new_full((max(counts), self.classes), -torch.inf)
        certain[:, BLANK] = 0.0
        padded = [piece for own in log_probs for piece in (own, certain[len(own) :])]
        return torch.cat(padded).unflatten(0, (len(counts), -1)), torch.tensor(counts, device="cpu")

    def _count(self, width: int) -> int:
        return int(self.columns(torch.tensor([width], device="cpu")))

    def _check(self, images: object, widths: object) -> Tensor:
        """Return a copy of the widths on the CPU, int64, having refused what does not fit."""
        if not isinstance(images, Tensor):
            refuse_other("images", images, "HandwritingRecognizer")
        if images.ndim != 4 or images.shape[1:3] != (1, self.height) or images.shape[3] < 1:
            raise ValueError(f"expected images of shape (N, 1, {self.height}, W), got {tuple(images.shape)}")
        like = self.output.weight
        if images.device != like.device:
            raise ValueError(f"expected images on {like.device}, as the weights, got {images.device}")
        if images.dtype != like.dtype and not torch.is_autocast_enabled(images.device.type):
            raise ValueError(f"expected images of dtype {like.dtype}, as the weights, got {images.dtype}")
        own = whole("widths", widths)
        if own.shape != images.shape[:1]:
            raise ValueError(f"expected widths of shape ({len(images)},), got {tuple(own.shape)}")
        found = SizedModule.known(own, "widths", images)
        if any(not 1 <= width <= images.shape[3] for width in found):
            raise ValueError(f"expected widths from 1 to the batch's {images.shape[3]}, got {found}")
        return own
