"""What RIDE is compared with: the same neighborhoods and whitening without a recurrence."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spatial_lstm.image_models.base import FitProgress
from spatial_lstm.image_models.conditional import ConditionalDensity
from spatial_lstm.image_models.density import ImageDensity
from spatial_lstm.image_models.mcgsm import MCGSM
from spatial_lstm.image_models.precision import wide


class MCGSMImage(ImageDensity):
    """Each pixel an :class:`MCGSM` given its whitened causal neighborhood, after Theis, Hosseini & Bethge, 2012.

    Args:
        channels: Channels of the images.
        neighborhood: Width of the causal window, odd.
        components, scales, features: Of the MCGSM.
        condition_channels: Channels of a second image given in full; 0 for none.
        device, dtype: Of buffers and parameters.
    """

    mcgsm: MCGSM

    def __init__(
        self,
        channels: int = 1,
        neighborhood: int = 5,
        components: int = 32,
        scales: int = 4,
        features: int = 32,
        *,
        condition_channels: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            channels, neighborhood=neighborhood, condition_channels=condition_channels, device=device, dtype=dtype
        )
        self.mcgsm = MCGSM(self.neighborhood.dim, channels, components, scales, features, device=device, dtype=dtype)
        self._config = {
            "channels": self.channels,
            "neighborhood": self.neighborhood.size,
            "components": self.mcgsm.components,
            "scales": self.mcgsm.scales,
            "features": self.mcgsm.features.shape[1],
            "condition_channels": self.neighborhood.condition_channels,
        }

    def fit(
        self,
        images: Tensor,
        *,
        max_iterations: int = 500,
        validation: Tensor | None = None,
        progress: FitProgress | None = None,
    ) -> float:
        """Fit the whitening, then the MCGSM; arguments and result as :meth:`fit_mcgsm`."""
        self.fit_whitening(images)
        return self.fit_mcgsm(images, max_iterations=max_iterations, validation=validation, progress=progress)


class LinearGaussian(ImageDensity):
    """Each pixel Gaussian, its mean linear in the causal neighborhood: what whitening alone gives.

    The MCGSM of one component and one scale in closed form. Arguments as :class:`MCGSMImage`'s.
    """

    def __init__(
        self,
        channels: int = 1,
        neighborhood: int = 5,
        *,
        condition_channels: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            channels, neighborhood=neighborhood, condition_channels=condition_channels, device=device, dtype=dtype
        )
        self._config = {
            "channels": self.channels,
            "neighborhood": self.neighborhood.size,
            "condition_channels": self.neighborhood.condition_channels,
        }
        self.mcgsm = StandardNormal(self.channels)

    def fit(self, images: Tensor) -> None:
        """Fit the whitening, which is all there is to fit."""
        self.fit_whitening(images)


class StandardNormal(ConditionalDensity):
    """N(y; 0, I), whatever the inputs."""

    def __init__(self, dim_out: int) -> None:
        super().__init__()
        self.dim_out = dim_out

    def log_prob(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        return -0.5 * (wide(outputs).square() + math.log(2 * math.pi)).sum(-1)

    def sample(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        shape = (*inputs.shape[:-1], self.dim_out)
        return torch.randn(shape, generator=generator, dtype=inputs.dtype, device=inputs.device)

    def fit(
        self,
        inputs: Tensor,
        outputs: Tensor,
        max_iterations: int = 500,
        validation: tuple[Tensor, Tensor] | None = None,
        progress: FitProgress | None = None,
    ) -> float:
        """Return the loss; nothing is to be fitted."""
        return -float(self.log_prob(*(validation or (inputs, outputs))).mean())
