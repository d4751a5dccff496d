"""Generative image models: RIDE, the baselines it is compared with, PixelRNN, and what they are made of.

Not imported by :mod:`spatial_lstm`; write ``from spatial_lstm.image_models import RIDE``.
"""

from __future__ import annotations

from spatial_lstm.image_models.base import ImageModel, LogProb
from spatial_lstm.image_models.baselines import LinearGaussian, MCGSMImage
from spatial_lstm.image_models.color import ColorRIDE
from spatial_lstm.image_models.density import ImageDensity
from spatial_lstm.image_models.ensemble import Ensemble
from spatial_lstm.image_models.mcgsm import MCGSM
from spatial_lstm.image_models.multiscale import MultiscaleRIDE
from spatial_lstm.image_models.neighborhood import CausalNeighborhood
from spatial_lstm.image_models.pixelrnn import PixelRNN
from spatial_lstm.image_models.ride import RIDE
from spatial_lstm.image_models.whitening import ConditionalWhitening

__all__ = [
    "MCGSM",
    "RIDE",
    "CausalNeighborhood",
    "ColorRIDE",
    "ConditionalWhitening",
    "Ensemble",
    "ImageDensity",
    "ImageModel",
    "LinearGaussian",
    "LogProb",
    "MCGSMImage",
    "MultiscaleRIDE",
    "PixelRNN",
]
