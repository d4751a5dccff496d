"""Units of likelihoods: what each is, in words, and how one becomes another."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spatial_lstm.image_models.base import ImageModel

# Bits of an integer channel, which densities on [0, 1] leave out: a unit there is as wide as all 256 levels.
BITS_OF_A_CHANNEL = 8


@dataclass(frozen=True)
class Unit:
    """What log-likelihoods of a model are told in; of all of them, higher is better.

    Attributes:
        name: Such as ``"bits per pixel"``.
        meaning: The same in full.
        per_channel: Whether the channels of a pixel count one by one.
        per_image: Whether all pixels of an image count once together.
        bits: Bits, or else nats.
    """

    name: str
    meaning: str
    per_channel: bool = False
    per_image: bool = False
    bits: bool = True

    def of(self, nats: float, pixels: int, channels: int, images: int = 1) -> float:
        """A log-likelihood in this unit.

        Args:
            nats: Of all images together.
            pixels: Of all images together; one of several channels counts once.
            channels: Of a pixel.
            images: How many.
        """
        count = images if self.per_image else pixels * (channels if self.per_channel else 1)
        return nats / (count * (math.log(2) if self.bits else 1.0))

    def __str__(self) -> str:
        return f"{self.name} ({self.meaning})"


DENSITY = Unit("bits per pixel", "log2 of a pixel's density, intensities from 0 to 1; higher is better")
BINARY = Unit("nats per image", "log-likelihood; higher is better", per_image=True, bits=False)
DISCRETE = Unit("bits per dimension", "log2 of a channel's probability; higher is better", per_channel=True)


def unit_of(model: ImageModel) -> Unit:
    """Return what the literature tells a model's likelihoods in: that of densities, of binary images, or of other discrete ones."""
    if model.levels is None:
        return DENSITY
    return BINARY if model.levels == 2 else DISCRETE


def meaning_of_bits_per_pixel(channels: int, levels: int | None) -> str:
    """Say what bits per pixel are of images of so many channels and levels, None where pixels have a density."""
    what = "probability" if levels is not None else "density, intensities from 0 to 1"
    together = f", {channels} channels together" if channels > 1 else ""
    return f"mean log2 of a pixel's {what}{together}; higher is better"


def bits_per_dimension(bits_per_pixel: float, channels: int, levels: int | None) -> float:
    """Return the length of a channel's code in bits, lower is better, the literature's unit for images of 8 bits.

    Of a density on [0, 1], it is the most that the code of an integer of 8 bits takes, to which uniform noise was added.

    Args:
        bits_per_pixel: Mean log-likelihood of a pixel, all channels together.
        channels: Of a pixel.
        levels: Of a channel; None where it has a density.
    """
    return (BITS_OF_A_CHANNEL if levels is None else 0) - bits_per_pixel / channels
