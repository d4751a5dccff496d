"""Images in two parts: one plane first, then the others given the whole of it."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from spatial_lstm.image_models.base import FitProgress, ImageModel, LogProb, Progress
from spatial_lstm.image_models.checks import as_margin, as_sizes, check_images
from spatial_lstm.image_models.density import MARGIN
from spatial_lstm.image_models.precision import no_autocast
from spatial_lstm.image_models.ride import RIDE
from spatial_lstm.image_models.scan import Scan


def half_of(progress: Progress | None, part: int) -> Progress | None:
    """What the first or the second part, 0 or 1, of something in two equally long parts is to call."""
    if progress is None:
        return None
    return lambda done, total: progress(part * total + done, 2 * total)


class TwoStageRIDE(ImageModel):
    r"""A linear transformation of the image into a first plane and others, a :class:`RIDE` for each part.

    :math:`\log p(\text{image}) = \log p(u) + \log p(v | u)` with (u, v) = T(image) and T orthonormal, so that
    :math:`\log |\det T| = 0`. At every site the second model is given the full window of u, its rows below the image repeating the last.

    Args:
        neighborhood, hidden_size, num_layers, extended, components, scales, features, cell, backend: Of both models; see :class:`RIDE`.
        device, dtype: Of buffers and parameters.

    Attributes:
        first: The model of u.
        second: The model of v given u.
    """

    scale: ClassVar[int] = 1
    """Pixels a side that one site stands for."""
    basis: ClassVar[tuple[tuple[float, ...], ...]]
    """The orthonormal T, which makes u and then v of what a site stands for, channel by channel its pixels in raster order."""

    def __init__(
        self,
        *,
        neighborhood: int = 5,
        hidden_size: int = 64,
        num_layers: int = 1,
        extended: bool = False,
        components: int = 32,
        scales: int = 4,
        features: int = 32,
        cell: str | None = None,
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {
            "neighborhood": neighborhood,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "extended": extended,
            "components": components,
            "scales": scales,
            "features": features,
            "cell": cell,
            "backend": backend,
        }
        self.first = RIDE(1, **options, device=device, dtype=dtype)
        self.second = RIDE(len(self.basis) - 1, **options, condition_channels=1, device=device, dtype=dtype)
        self.border = self.scale * self.first.border

    def split(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return u ``(N, 1, h, w)`` and v of images ``(N, C, scale h, scale w)``, in their type under autocast, too.

        Raises:
            ValueError: If the images have another shape.
            TypeError: If they are no Tensor of floating point numbers.
        """
        check_images("images", images, self.channels)
        if images.shape[2] % self.scale or images.shape[3] % self.scale:
            raise ValueError(f"expected images with H and W divisible by {self.scale}, got {tuple(images.shape)}")
        sites = functional.pixel_unshuffle(images, self.scale)
        with no_autocast(images.device):
            planes = torch.einsum("kp,nphw->nkhw", images.new_tensor(self.basis), sites)
        return planes[:, :1], planes[:, 1:]

    def join(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the images of u and v."""
        with no_autocast(first.device):
            sites = torch.einsum("kp,nkhw->nphw", first.new_tensor(self.basis), torch.cat([first, second], dim=1))
        return functional.pixel_shuffle(sites, self.scale)

    def config(self) -> dict[str, Any]:
        own = self.first.config()
        return {name: value for name, value in own.items() if name not in ("channels", "condition_channels")}

    def remedy(self) -> str:
        return self.first.remedy()

    def parts(self, images: Tensor) -> list[tuple[RIDE, Tensor, Tensor | None]]:
        """Return both models, each with the part of the images that is its and with what that is given."""
        u, v = self.split(images)
        return [(self.first, u, None), (self.second, v, u)]

    def log_prob(self, images: Tensor) -> LogProb:
        return self._joint([model.log_prob(part, given) for model, part, given in self.parts(images)])

    def log_prob_of_tiles(self, images: Tensor, side: int) -> LogProb:
        """Return the log-likelihood of the tiles of images; see :meth:`RIDE.log_prob_of_tiles`.

        Raises:
            ValueError: As there, or if the side is not divisible by :attr:`scale`.
        """
        if side % self.scale:
            raise ValueError(f"expected a side divisible by {self.scale}, got {side}")
        sites = side // self.scale
        return self._joint([model.log_prob_of_tiles(part, sites, given) for model, part, given in self.parts(images)])

    def _joint(self, parts: list[LogProb]) -> LogProb:
        """Of the images or tiles, from that of their parts, which have as many scored sites."""
        sites = parts[0].pixels
        return LogProb(parts[0].nats + parts[1].nats, sites * self.scale**2)

    def prepare(self, images: Tensor) -> None:
        """As :meth:`fit_whitening`."""
        self.fit_whitening(images)

    def fit_whitening(self, images: Tensor) -> None:
        """Fit both parts' linear predictions and marginals; see :meth:`RIDE.fit_whitening`."""
        for model, part, given in self.parts(images):
            model.fit_whitening(part, given)

    def fit_mcgsm(
        self,
        images: Tensor,
        *,
        max_iterations: int = 500,
        validation: Tensor | None = None,
        progress: FitProgress | None = None,
    ) -> float:
        """Fit both MCGSMs; the result is the negative log-likelihood of a site in nats, both parts together."""
        held_out = [None, None] if validation is None else [rows[1:] for rows in self.parts(validation)]
        losses = [
            model.fit_mcgsm(part, given, max_iterations=max_iterations, validation=rows, progress=progress)
            for (model, part, given), rows in zip(self.parts(images), held_out, strict=True)
        ]
        return sum(losses)

    @torch.no_grad()
    def sample(
        self,
        height: int,
        width: int,
        num: int = 1,
        *,
        generator: torch.Generator | None = None,
        margin: int = MARGIN,
        limits: tuple[float, float] | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Draw images ``(num, C, height, width)``; ``limits`` hold for u and v, by default the percentiles of each."""
        height, width, num = as_sizes(height, width, num, self.scale)
        margin = as_margin(margin, self.border)
        edge, h, w = -(-margin // self.scale), height // self.scale, width // self.scale
        size = (num, h + edge + self.first.border, w + 2 * edge)  # rows below, so that windows of u are full
        planes: list[Tensor] = []
        for part, model in enumerate((self.first, self.second)):
            scan = Scan(model, model.noise(*size, generator), planes[0] if part else None)
            half = half_of(progress, part)
            planes.append(scan.run(generator=generator, limits=model.limits(limits), progress=half))
        u, v = (plane[:, :, edge : edge + h, edge : edge + w] for plane in planes)
        return self.join(u, v)
