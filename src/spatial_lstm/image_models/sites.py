"""What it takes to visit an image's pixels one after the other."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from spatial_lstm.image_models.conditional import ConditionalDensity
from spatial_lstm.image_models.neighborhood import CausalNeighborhood
from spatial_lstm.image_models.whitening import ConditionalWhitening


class Stepper:
    """What a pixel's density is conditioned on, site by site; this one hands the whitened inputs on."""

    def step(self, white: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the features ``(N, S, E)`` of S sites with whitened inputs ``(N, S, D)``; predecessors have been stepped before."""
        return white


class SiteModel(Protocol):
    """What drawing and filling in need of a model; :class:`~spatial_lstm.image_models.ImageDensity` has it."""

    border: int

    @property
    def neighborhood(self) -> CausalNeighborhood:
        """The pixels that a pixel is predicted from."""

    @property
    def whitening(self) -> ConditionalWhitening:
        """What is taken out before features are made."""

    @property
    def mcgsm(self) -> ConditionalDensity:
        """The density of a whitened pixel given its features."""

    def stepper(self, batch: int, rows: int, columns: int) -> Stepper:
        """Return what makes the features, for so many images and scored pixels."""

    def site_density(self, features: Tensor, residual: Tensor) -> Tensor:
        """Return log p ``(...)`` of pixels with features ``(..., E)`` and whitened values ``(..., C)``."""

    def log_density(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return log p of every scored pixel of images ``(N, C, H, W)``."""
