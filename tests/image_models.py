"""Small image models with parameters and images at which everything matters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spatial_lstm.image_models import (
    RIDE,
    ColorRIDE,
    ImageDensity,
    ImageModel,
    LinearGaussian,
    MCGSMImage,
    MultiscaleRIDE,
)

SMALL: dict[str, Any] = {"hidden_size": 6, "components": 3, "scales": 2, "features": 4, "dtype": torch.float64}

MODELS: dict[str, Callable[[], ImageModel]] = {
    "ride": lambda: RIDE(**SMALL),
    "ride-2-extended": lambda: RIDE(num_layers=2, extended=True, **SMALL),
    "ride-diagonal-nb3": lambda: RIDE(neighborhood=3, cell="diagonal", **SMALL),
    "ride-2-layers-2-channels-nb7": lambda: RIDE(2, neighborhood=7, num_layers=2, **SMALL),
    "mcgsm": lambda: MCGSMImage(1, 5, 3, 2, 4, dtype=torch.float64),
    "mcgsm-rgb": lambda: MCGSMImage(3, 3, 3, 2, 4, dtype=torch.float64),
    "linear": lambda: LinearGaussian(dtype=torch.float64),
    "color": lambda: ColorRIDE(neighborhood=3, **SMALL),
    "multiscale": lambda: MultiscaleRIDE(neighborhood=3, **SMALL),
}
DENSITIES = [name for name in MODELS if name not in ("color", "multiscale")]


def textured(num: int, channels: int, height: int, width: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Images whose neighboring pixels and channels depend on one another."""
    noise = torch.randn(num, channels + 1, height + 2, width + 2, dtype=dtype)
    return 3 + torch.nn.functional.avg_pool2d(noise, 3, 1)[:, 1:] * 4 + noise[:, :1, 1:-1, 1:-1]


def make(name: str) -> ImageModel:
    """A model with all parameters of a size at which they matter, its whitening fitted."""
    model = MODELS[name]()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.4)
    model.fit_whitening(textured(6, model.channels, 20, 24))
    return model


def make_density(name: str) -> ImageDensity:
    model = make(name)
    assert isinstance(model, ImageDensity)
    return model
