"""What it takes to visit an image's pixels one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

from spatial_lstm import State
from spatial_lstm.image_models.conditional import ConditionalDensity
from spatial_lstm.image_models.neighborhood import CausalNeighborhood
from spatial_lstm.image_models.whitening import ConditionalWhitening


class Corner(NamedTuple):
    """Where a window of one image begins: its first scored pixel, counted from the image's first scored pixel."""

    image: int
    row: int
    column: int


class Stepper:
    """What a pixel's density is conditioned on, site by site; this one hands the whitened inputs on."""

    def step(self, white: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the features ``(N, S, E)`` of S sites with whitened inputs ``(N, S, D)``; predecessors have been stepped before."""
        return white


class SiteStates:
    """The states of a recurrence at all scored pixels of images; this one is of models without a recurrence, and empty."""

    def entering(self, corners: Sequence[Corner], rows: int, columns: int) -> State | None:
        """Return the states that enter windows of so many scored pixels from above and from the left; None for zeros."""
        return None

    def write(self, corner: Corner, states: SiteStates, image: int) -> None:
        """Replace the states of one window by those of image number ``image`` in ``states``, which is as large as the window."""


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

    def check(self, images: Tensor, condition: Tensor | None = None) -> None:
        """Refuse images and conditions that do not fit."""

    def limits(self, limits: tuple[float, float] | None = None) -> tuple[Tensor, Tensor]:
        """Return the least and the largest value of what is drawn, ``(C,)`` each."""

    def stepper(self, batch: int, rows: int, columns: int, state: State | None = None) -> Stepper:
        """Return what makes the features, for so many images and scored pixels and the states that enter them."""

    def site_states(self, images: Tensor, condition: Tensor | None = None, state: State | None = None) -> SiteStates:
        """Return the states at every scored pixel of images ``(N, C, H, W)``."""

    def site_density(self, features: Tensor, residual: Tensor) -> Tensor:
        """Return log p ``(...)`` of pixels with features ``(..., E)`` and whitened values ``(..., C)``."""

    def log_density(self, images: Tensor, condition: Tensor | None = None, state: State | None = None) -> Tensor:
        """Return log p of every scored pixel of images ``(N, C, H, W)``."""
