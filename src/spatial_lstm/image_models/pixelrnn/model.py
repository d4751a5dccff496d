"""PixelRNN: discrete pixels, each conditioned on all that come before."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spatial_lstm import backends
from spatial_lstm.arguments import as_positive_int, as_positive_ints, check_flag
from spatial_lstm.image_models.base import ImageModel, LogProb, Progress
from spatial_lstm.image_models.checks import as_sizes, check_images
from spatial_lstm.image_models.masks import expand_mask
from spatial_lstm.image_models.pixelrnn.network import PixelNetwork
from spatial_lstm.image_models.pixelrnn.raster import RasterScan
from spatial_lstm.image_models.precision import wide
from spatial_lstm.image_models.values import values_of

VARIANTS = ("diagonal", "row")


class PixelRNN(ImageModel):
    r"""PixelRNN of van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks, 2016, arXiv:1601.06759.

    p(image) is a product over pixels in raster order, and over the colors of each, of discrete distributions given all that comes before: a
    masked convolution (mask A), recurrent layers, two 1x1 convolutions behind ReLUs, and a sigmoid or a softmax over the levels. Every
    pixel is scored; outside the image there are zeros.

    Pixels take ``levels`` values, evenly from 0 to 1, as ``images / 255`` of 8-bit images do. Values in between belong to the interval that
    they fall into, :math:`\lfloor \text{levels} \cdot x \rfloor`, so dequantized images have the level of their integers; a binary model
    takes 0 and 1 alone. In 16 bits, too, all 256 values are told apart, and what is within their rounding of a level's own value has that
    level: samples have the levels that were drawn.

    Args:
        channels: Channels of the images, C: the colors, in the order in which they depend on one another.
        levels: Values of a channel of a pixel; 2 for binary images, 256 for those of 8 bits.
        hidden_size: Features of the hidden state, h; between the layers there are 2h.
        num_layers: Recurrent layers.
        variant: ``"diagonal"``, the Diagonal BiLSTM, or ``"row"``, the Row LSTM.
        kernel_size: Width of the first convolution, odd.
        head_features: Channels between the last two convolutions; None for 2h.
        residual: Whether the layers' inputs are added to their outputs.
        backend: Of the LSTM, for ``variant="diagonal"``.
        device, dtype: Of the parameters.

    Raises:
        ValueError: If an argument is out of range.
        TypeError: If it is of a wrong kind.

    Example:
        >>> model = PixelRNN(hidden_size=4)
        >>> model.log_prob(torch.zeros(3, 1, 8, 9)).pixels
        72
    """

    border = 0
    levels: int

    def __init__(
        self,
        channels: int = 1,
        levels: int = 2,
        *,
        hidden_size: int = 32,
        num_layers: int = 1,
        variant: str = "diagonal",
        kernel_size: int = 7,
        head_features: int | None = None,
        residual: bool = True,
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = {"channels": channels, "levels": levels, "hidden_size": hidden_size, "num_layers": num_layers}
        channels, levels, hidden_size, num_layers = as_positive_ints(sizes).values()
        kernel_size = as_positive_int("kernel_size", kernel_size)
        head_features = None if head_features is None else as_positive_int("head_features", head_features)
        head = 2 * hidden_size if head_features is None else head_features
        check_flag("residual", residual)
        if min(hidden_size, head) < channels:
            found = f"{hidden_size} and {head}"
            raise ValueError(
                f"expected a hidden_size and head_features of at least {channels}, one for each color, got {found}"
            )
        if levels not in range(2, 257):
            raise ValueError(f"expected levels from 2 to 256, got {levels!r}")
        if variant not in VARIANTS:
            raise ValueError(f"expected variant to be one of {', '.join(VARIANTS)}, got {variant!r}")
        # The Row LSTM has none, which is no reason to take a name that none has.
        if backend != "auto" and backend not in (names := tuple(backends())):
            raise ValueError(f"expected backend to be one of {('auto', *names)}, got {backend!r}")
        self._config: dict[str, Any] = {
            "channels": channels,
            "levels": levels,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "variant": variant,
            "kernel_size": kernel_size,
            "head_features": head_features,
            "residual": residual,
            "backend": backend,
        }
        self.channels, self.levels = channels, levels
        network = {**self._config, "head_features": head}
        self.network = PixelNetwork(**network, device=device, dtype=dtype)

    def config(self) -> dict[str, Any]:
        return dict(self._config)

    def log_prob(self, images: Tensor) -> LogProb:
        density = self.log_density(images)
        return LogProb(density.flatten(1).sum(1), images.shape[2] * images.shape[3])

    def log_density(self, images: Tensor) -> Tensor:
        """Return log p of every channel of every pixel in nats, ``(N, C, H, W)``.

        Raises:
            ValueError: As :meth:`log_prob`.
        """
        values = self.quantize(images)
        return self.network.score(self.network(values), values)

    def quantize(self, images: Tensor) -> Tensor:
        """Return the levels of images ``(N, C, H, W)``, whole numbers from 0 on, of the images' type.

        Raises:
            TypeError: If the images are no floating point Tensor.
            ValueError: If they do not fit the model, or have values that no level has.
        """
        like = self.network.first.weight
        check_images("images", images, self.channels)
        if min(images.shape[2:]) < 1:
            raise ValueError(f"expected images of at least 1 x 1 pixels, got {images.shape[2]} x {images.shape[3]}")
        if (images.dtype, images.device) != (like.dtype, like.device):
            raise ValueError(
                f"expected images of the model's {like.dtype} on {like.device}, got {images.dtype} on {images.device}"
            )
        values = self._nearest_or_below(images.detach()).to(images.dtype)
        inside = (images == values) if self.levels == 2 else (images >= 0) & (images <= 1)
        if values_of(inside.all) is False:
            wanted = "of 0 and 1 alone" if self.levels == 2 else "from 0 to 1"
            low, high = (float(bound) for bound in images.detach().aminmax())
            raise ValueError(f"expected images with values {wanted}, got others, from {low:.4g} to {high:.4g}")
        return values

    def _nearest_or_below(self, images: Tensor) -> Tensor:
        """The level of whose own value each is the rounding in its type, else that of the interval that it falls into."""
        top = self.levels - 1
        exact = wide(images)
        scaled = exact * top
        nearest = scaled.round()
        # In 16 bits a level's own value may be rounded out of its interval, and in bfloat16 there is hardly a value in between.
        own = (scaled - nearest).abs() <= torch.finfo(images.dtype).eps / 2 * scaled
        return torch.where(own, nearest, (exact * self.levels).floor()).clamp(max=top)

    @torch.no_grad()
    def sample(
        self,
        height: int,
        width: int,
        num: int = 1,
        *,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        height, width, num = as_sizes(height, width, num)
        like = self.network.first.weight
        values = torch.zeros(num, self.channels, height, width, dtype=like.dtype, device=like.device)
        hole = torch.ones(num, 1, height, width, dtype=torch.bool, device=like.device)
        return RasterScan(self.network, values).run(hole, generator=generator, progress=progress) / (self.levels - 1)

    @torch.no_grad()
    def complete(
        self,
        images: Tensor,
        mask: Tensor,
        *,
        candidates: int = 1,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Return images in which the pixels of a hole are drawn, each given all that comes before it; what comes after is not seen.

        Args:
            images: ``(N, C, H, W)``; what is in the holes is not read.
            mask: bool ``(N, 1, H, W)`` or ``(1, 1, H, W)``, True in the holes.
            candidates: How many completions of each image to draw; the likeliest image is kept, which lets what follows be seen a little.
            generator: Where the random numbers come from.
            progress: Called with the steps done and their total.

        Raises:
            ValueError: If images or mask do not fit.
            TypeError: If the mask is not bool.
        """
        candidates = as_positive_int("candidates", candidates)
        check_images("images", images, self.channels)
        mask = expand_mask(images, mask)
        values = self.quantize(images.masked_fill(mask, 0.0)).repeat_interleave(candidates, 0)
        scan = RasterScan(self.network, values)
        filled = scan.run(mask.repeat_interleave(candidates, 0), generator=generator, progress=progress)
        best = scan.density.flatten(1).sum(1).view(len(images), candidates).argmax(1)
        at = torch.arange(len(images), device=images.device) * candidates + best
        return torch.where(mask, filled[at] / (self.levels - 1), images)

    def inpaint(
        self,
        images: Tensor,
        mask: Tensor,
        *,
        candidates: int = 8,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Fill holes by the likeliest of several completions; see :meth:`complete`."""
        return self.complete(images, mask, candidates=candidates, generator=generator, progress=progress)

    @torch.no_grad()
    def log_density_by_pixels(self, images: Tensor) -> Tensor:
        """As :meth:`log_density`, pixel by pixel in the order of sampling: slow, and equal to rounding."""
        scan = RasterScan(self.network, self.quantize(images))
        scan.run(torch.zeros(len(images), 1, *images.shape[2:], dtype=torch.bool, device=images.device))
        return scan.density
