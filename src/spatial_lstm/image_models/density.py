"""Models in which each pixel depends on its causal neighborhood: what they share."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spatial_lstm import State
from spatial_lstm.arguments import as_int
from spatial_lstm.image_models import inpainting
from spatial_lstm.image_models.base import FitProgress, ImageModel, LogProb, Progress
from spatial_lstm.image_models.checks import as_margin, as_sizes, check_finite, check_some
from spatial_lstm.image_models.conditional import ConditionalDensity
from spatial_lstm.image_models.neighborhood import CausalNeighborhood
from spatial_lstm.image_models.scale import warn_of_other_scale
from spatial_lstm.image_models.scan import Scan
from spatial_lstm.image_models.sites import SiteStates, Stepper
from spatial_lstm.image_models.whitening import ConditionalWhitening

# The marginal is kept in steps of a thousandth, since samples are clipped at the 0.1 and 99.8 percentiles.
QUANTILES = 1001
# Pixels cut off on each side of a sample, so that it does not show the noise that the scan starts from.
MARGIN = 16
# Pixels at a time where no gradients are needed; they are taken in bands that span the images.
AT_ONCE = 1 << 18
# Images at a time where all are gone through; bounds memory.
BATCH = 16


class ImageDensity(ImageModel, ABC):
    r"""p(image) as a product over pixels in raster order, each given its causal neighborhood.

    Inputs and outputs are whitened, a model makes features of the whitened inputs, and given those a conditional density is put on the
    whitened outputs: :math:`\log p(y | x) = \log p(y' | \mathrm{features}(x')) + \log |\det W|`.

    Args:
        channels: Channels of the images.
        neighborhood: Width of the causal window, odd.
        condition_channels: Channels of a second image given in full; 0 for none.
        device, dtype: Of buffers and parameters.

    Attributes:
        neighborhood: :class:`CausalNeighborhood`.
        whitening: :class:`ConditionalWhitening`.
        mcgsm: The conditional density of whitened outputs, :class:`~spatial_lstm.image_models.MCGSM` in most models.
        quantiles: ``(C, 1001)``, the data's marginal in steps of a thousandth.
    """

    quantiles: Tensor
    mcgsm: ConditionalDensity
    _config: dict[str, Any]  # the arguments of a subclass

    def __init__(
        self,
        channels: int = 1,
        *,
        neighborhood: int = 5,
        condition_channels: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.neighborhood = CausalNeighborhood(neighborhood, channels, condition_channels)
        self.channels = channels = self.neighborhood.channels
        self.border = self.neighborhood.radius
        self.whitening = ConditionalWhitening(self.neighborhood.dim, channels, device=device, dtype=dtype)
        levels = (torch.arange(QUANTILES, dtype=torch.float64, device="cpu") + 0.5) / QUANTILES
        start = torch.special.ndtri(levels).expand(channels, -1)
        like = self.whitening.mean_in
        self.register_buffer("quantiles", start.to(like.device, like.dtype).clone())

    def conditioning(self, white: Tensor, state: State | None = None) -> Tensor:
        """Return the features ``(N, H', W', E)`` of whitened inputs ``(N, H', W', D)``; by default these themselves.

        ``state`` is what enters from above and from the left where there is a recurrence, None for zeros.
        """
        return white

    def carry(self, white: Tensor, state: State | None) -> tuple[Tensor, State | None]:
        """Return :meth:`conditioning`, and the state that leaves below, None where there is no recurrence."""
        return self.conditioning(white), None

    def config(self) -> dict[str, Any]:
        return dict(self._config)

    def stepper(self, batch: int, rows: int, columns: int, state: State | None = None) -> Stepper:
        """Return what computes :meth:`conditioning` site by site, for so many images and scored pixels."""
        return Stepper()

    def site_states(self, images: Tensor, condition: Tensor | None = None, state: State | None = None) -> SiteStates:
        """Return the states of the recurrence at every scored pixel, from which those that enter a window are taken."""
        return SiteStates()

    def whiten(self, images: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return whitened inputs ``(N, H', W', D)`` and outputs ``(N, H', W', C)``."""
        self.check(images, condition)
        inputs = self.neighborhood(images, condition).permute(0, 2, 3, 1)
        outputs = self.neighborhood.targets(images).permute(0, 2, 3, 1)
        white, residual, _ = self.whitening(inputs, outputs)
        return white, residual

    def features(self, images: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return whitened inputs ``(N, D, H', W')``, whitened outputs ``(N, C, H', W')`` and features of the inputs ``(N, E, H', W')``."""
        white, residual = self.whiten(images, condition)
        found = self.conditioning(white)
        return white.permute(0, 3, 1, 2), residual.permute(0, 3, 1, 2), found.permute(0, 3, 1, 2)

    def log_density(self, images: Tensor, condition: Tensor | None = None, state: State | None = None) -> Tensor:
        """Return log p of every scored pixel in nats, ``(N, H', W')``, H' = H - border, W' = W - 2 border.

        Args:
            images: ``(N, C, H, W)``.
            condition: ``(N, K, H, W)``, or with up to ``border`` rows more that lie below the images.
            state: Near faces over the H' by W' scored pixels, for images that are windows of larger ones; None for zeros.
        """
        self.neighborhood.check(images, condition)
        large = len(images) * images.shape[2:].numel() > AT_ONCE
        if large and state is None and not torch.is_grad_enabled():
            return torch.cat(list(self._bands(images, condition)), dim=1)
        white, residual = self.whiten(images, condition)
        return self.site_density(self.conditioning(white, state), residual)

    def _bands(self, images: Tensor, condition: Tensor | None) -> Iterator[Tensor]:
        """As :meth:`log_density`, band by band from above, so that memory does not grow with the images."""
        rows = max(1, AT_ONCE // (len(images) * images.shape[3]))
        state: State | None = None
        for top in range(0, images.shape[2] - self.border, rows):
            # The rows above that its pixels are predicted from, and of a condition those below.
            band = images[:, :, top : top + rows + self.border]
            given = None if condition is None else condition[:, :, top : top + rows + 2 * self.border]
            white, residual = self.whiten(band, given)
            features, state = self.carry(white, state)
            yield self.site_density(features, residual)

    def site_density(self, features: Tensor, residual: Tensor) -> Tensor:
        """Return log p ``(...)`` of pixels with features ``(..., E)`` and whitened outputs ``(..., C)``; never in 16 bits."""
        return self.mcgsm.log_prob(features, residual) + self.whitening.log_det

    def log_prob(self, images: Tensor, condition: Tensor | None = None) -> LogProb:
        density = self.log_density(images, condition)
        return LogProb(density.flatten(1).sum(1), density.shape[1] * density.shape[2])

    def log_prob_of_tiles(self, images: Tensor, side: int, condition: Tensor | None = None) -> LogProb:
        """Return the log-likelihood of the tiles of images, each given all that precedes its pixels in the whole image.

        The tiles are those of :func:`~spatial_lstm.image_models.data.tiles`, in its order, and their scored pixels those that
        :meth:`log_prob` scores in each tile by itself; there, a recurrence begins anew at every tile.

        Args:
            images: ``(N, C, H, W)``; what is left over below and to the right of the tiles is not scored.
            side: Rows and columns of a tile.
            condition: ``(N, K, H, W)`` where the model takes one.

        Raises:
            ValueError: If the images do not fit the model, or a tile has no scored pixel or is larger than the images.
        """
        side = as_int("side", side)
        rows, columns = side - self.border, side - 2 * self.border
        density = self.log_density(images, condition)
        least, most = 2 * self.border + 1, min(images.shape[2:])
        if not least <= side <= most:
            raise ValueError(f"expected a side of {least} to {most}, got {side}")
        found = density.unfold(1, rows, side).unfold(2, columns, side)
        return LogProb(found.flatten(3).sum(3).flatten(), rows * columns)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> LogProb:
        """As :meth:`log_prob`."""
        return self.log_prob(images, condition)

    def prepare(self, images: Tensor) -> None:
        """As :meth:`fit_whitening`."""
        self.fit_whitening(images)

    @torch.no_grad()
    def fit_whitening(self, images: Tensor, condition: Tensor | None = None) -> None:
        """Fit the linear prediction, and the marginal that sampling starts from, to images ``(N, C, H, W)``.

        Raises:
            ValueError: If the images do not fit the model, have too few pixels or are constant.
        """
        self.neighborhood.check(images, condition)

        def rows() -> Iterator[tuple[Tensor, Tensor]]:
            for batch, given in self._batches(images, condition):
                inputs, outputs = self.neighborhood(batch, given), self.neighborhood.targets(batch)
                yield inputs.permute(0, 2, 3, 1).flatten(0, 2), outputs.permute(0, 2, 3, 1).flatten(0, 2)

        self.whitening.fit_batches(rows())
        values = images.transpose(0, 1).flatten(1)
        values = values[:, :: max(1, values.shape[1] // 1_000_000)].to(self.quantiles).sort(1).values
        levels = torch.linspace(0, values.shape[1] - 1, QUANTILES, device=values.device).round().long()
        self.quantiles.copy_(values[:, levels])

    @torch.no_grad()
    def fit_mcgsm(
        self,
        images: Tensor,
        condition: Tensor | None = None,
        *,
        max_iterations: int = 500,
        validation: Tensor | tuple[Tensor, Tensor | None] | None = None,
        progress: FitProgress | None = None,
    ) -> float:
        """Fit the conditional density alone to images by L-BFGS, all else held.

        Arguments and result as :meth:`~spatial_lstm.image_models.MCGSM.fit`'s.
        """
        data = self._rows(images, condition)
        pair = validation if isinstance(validation, tuple) else (validation, None)
        held_out = None if pair[0] is None else self._rows(*pair)
        loss = self.mcgsm.fit(*data, max_iterations, held_out, progress)
        return loss - float(self.whitening.log_det)

    def _rows(self, images: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Features and whitened outputs of all scored pixels, ``(K, E)`` and ``(K, C)``."""
        self.neighborhood.check(images, condition)
        check_some(images)
        check_finite("images", images)
        parts = []
        for batch, given in self._batches(images, condition):
            white, residual = self.whiten(batch, given)
            found = self.conditioning(white).to(residual.dtype)
            parts.append((found.flatten(0, 2), residual.flatten(0, 2)))
        features, outputs = zip(*parts, strict=True)
        return torch.cat(features), torch.cat(outputs)

    @staticmethod
    def _batches(images: Tensor, condition: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
        for start in range(0, len(images), BATCH):
            batch = slice(start, start + BATCH)
            yield images[batch], None if condition is None else condition[batch]

    def noise(self, num: int, height: int, width: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw images ``(num, C, height, width)`` of independent pixels from the data's marginal."""
        device = self.quantiles.device
        shape = (self.channels, num, height, width)
        levels = torch.rand(shape, generator=generator, device=device) * (QUANTILES - 1)
        lower = levels.long().clamp(max=QUANTILES - 2)
        share = (levels - lower).to(self.quantiles.dtype).flatten(1)
        at = lower.flatten(1)
        values = self.quantiles.gather(1, at).lerp(self.quantiles.gather(1, at + 1), share)
        return values.view(shape).transpose(0, 1).contiguous()

    def limits(self, limits: tuple[float, float] | None = None) -> tuple[Tensor, Tensor]:
        """Return the least and the largest value of a sample's channels, ``(C,)`` each; the data's 0.1 and 99.8 percentiles by default."""
        low, high = self.quantiles[:, QUANTILES // 1000], self.quantiles[:, 998 * QUANTILES // 1000]
        if limits is None:
            return low, high
        if not limits[0] < limits[1]:
            raise ValueError(f"expected limits (low, high) with low < high, got {limits}")
        return torch.full_like(low, limits[0]), torch.full_like(high, limits[1])

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
        """Draw images ``(num, C, height, width)``.

        The scan starts from pixels drawn independently from the data's marginal, on a canvas larger by ``margin`` above, to the left and to
        the right, which is cut off in the end.

        Args:
            height: Rows of the images.
            width: Columns of the images.
            num: How many.
            generator: Where the random numbers come from; None for torch's own.
            margin: Pixels cut off.
            limits: Between which the values are clipped; None for the data's 0.1 and 99.8 percentiles.
            progress: Called after every step with the steps done and their total.

        Raises:
            ValueError: If a size is not positive, or the margin less than ``border``.
            TypeError: If one is no int.
        """
        height, width, num = as_sizes(height, width, num)
        margin = as_margin(margin, self.border)
        canvas = self.noise(num, height + margin, width + 2 * margin, generator)
        filled = Scan(self, canvas).run(generator=generator, limits=self.limits(limits), progress=progress)
        return filled[:, :, margin:, margin : margin + width]

    # The function itself, whose first argument is the model.
    inpaint = inpainting.inpaint

    def check(self, images: Tensor, condition: Tensor | None = None) -> None:
        """Refuse images and conditions that do not fit the model; warn of images on another scale.

        Raises:
            ValueError: If shapes, dtypes or devices do not fit.
            TypeError: If one is no Tensor of floating point numbers.
        """
        self.neighborhood.check(images, condition)
        like = self.whitening.mean_in
        for name, tensor in (("images", images), ("condition", condition)):
            if tensor is not None and (tensor.dtype != like.dtype or tensor.device != like.device):
                raise ValueError(
                    f"expected {name} of the model's {like.dtype} on {like.device}, got {tensor.dtype} on {tensor.device}"
                )
        warn_of_other_scale(images, self.quantiles)
