"""What every image model provides."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from spatial_lstm.arguments import as_positive_int
from spatial_lstm.image_models.checks import NotFiniteError, check_finite, check_images, check_some
from spatial_lstm.tuples import returned

Progress = Callable[[int, int], object]
FitProgress = Callable[[int, float, "float | None"], object]


@returned
class LogProb(NamedTuple):
    """A log-likelihood and how many pixels it is of.

    Attributes:
        nats: ``(N,)``, the log-likelihood of each image's scored pixels given those that are not, in nats; float32 of models in 16 bits.
        pixels: Scored pixels per image; a pixel of several channels counts once.
    """

    nats: Tensor
    pixels: int

    @property
    def bits_per_pixel(self) -> Tensor:
        """Mean log-likelihood per image in bits per pixel, ``(N,)``; higher is better."""
        return self.nats / (self.pixels * math.log(2))


class ImageModel(nn.Module):
    """A distribution over images of any size, of which the first ``border`` rows and the first and last ``border`` columns are given.

    Attributes:
        channels: Channels of the images, C.
        border: Width of the margin whose pixels are conditioned on.
        levels: How many values a channel of a pixel can take, evenly from 0 to 1; None where pixels have a density instead.
    """

    channels: int
    border: int
    levels: int | None = None

    @abstractmethod
    def log_prob(self, images: Tensor) -> LogProb:
        """Return the log-likelihood of images ``(N, C, H, W)``.

        Raises:
            ValueError: If the images do not fit the model or are too small to have a scored pixel.
            TypeError: If they are no Tensor of floating point numbers.
        """

    @abstractmethod
    def sample(
        self,
        height: int,
        width: int,
        num: int = 1,
        *,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Draw images ``(num, C, height, width)``.

        Args:
            height: Rows of the images.
            width: Columns of the images.
            num: How many.
            generator: Where the random numbers come from; None for torch's own.
            progress: Called after every step with the steps done and their total.

        Raises:
            ValueError: If a size is not positive, or none of the model's.
            TypeError: If one is no int.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the arguments to build the model with; ``type(model)(**model.config())`` has the same parameters by name and shape."""

    def prepare(self, images: Tensor) -> None:
        """Fit to images ``(N, C, H, W)`` what is fitted in closed form before training; nothing in most models.

        Raises:
            ValueError: If the images do not fit the model, have too few pixels or are constant.
        """

    def forward(self, images: Tensor) -> LogProb:
        """As :meth:`log_prob`."""
        return self.log_prob(images)

    @torch.no_grad()
    def bits_per_pixel(self, images: Tensor, batch_size: int = 16) -> float:
        """Return the mean log-likelihood of images ``(N, C, H, W)`` in bits per scored pixel; higher is better.

        Raises:
            ValueError: If there is no image, they do not fit the model, or batch_size is not positive.
            TypeError: If batch_size is no int, or the images are no Tensor of floating point numbers.
            NotFiniteError: If an image or its log-likelihood is not finite.
        """
        batch_size = as_positive_int("batch_size", batch_size)
        check_images("images", images, self.channels)
        check_some(images)
        batches = [self.log_prob(batch) for batch in images.split(batch_size)]
        nats = torch.cat([batch.nats.double() for batch in batches])
        self._check_finite(images, nats)
        return math.fsum(nats.tolist()) / (len(images) * batches[0].pixels * math.log(2))

    def _check_finite(self, images: Tensor, nats: Tensor) -> None:
        finite = nats.isfinite()
        if finite.all():
            return
        check_finite("images", images)
        remedy = self.remedy()
        found = f"{int((~finite).sum())} of {len(images)} images whose is not"
        raise NotFiniteError(f"expected finite log-likelihoods, got {found}{remedy and ': ' + remedy}")

    def remedy(self) -> str:
        """What to do where log-likelihoods are not finite, for the error that says so; empty where nothing is known."""
        return ""


@runtime_checkable
class FillsHoles(Protocol):
    """A model that can draw a part of an image given the rest."""

    def inpaint(
        self,
        images: Tensor,
        mask: Tensor,
        *,
        candidates: int = 8,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Return images ``(N, C, H, W)`` drawn anew where the bool ``mask``, ``(N, 1, H, W)`` or ``(1, 1, H, W)``, is True.

        Of each image the likeliest of so many candidates is kept.
        """


@runtime_checkable
class HasConditional(Protocol):
    """A model with conditional densities that can be fitted alone."""

    def fit_mcgsm(
        self,
        images: Tensor,
        *,
        max_iterations: int = 500,
        validation: Tensor | None = None,
        progress: FitProgress | None = None,
    ) -> float:
        """Fit the conditional densities alone to images by L-BFGS, all else held.

        Arguments and result as :meth:`~spatial_lstm.image_models.MCGSM.fit`'s.
        """
