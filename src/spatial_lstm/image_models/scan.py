"""Visiting an image's pixels in causal order, many at once: sampling, and the likelihood site by site."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from spatial_lstm import State
from spatial_lstm.image_models.base import Progress
from spatial_lstm.image_models.precision import wide
from spatial_lstm.image_models.sites import SiteModel


class Scan:
    """One pass over the scored pixels of images, in which some are drawn and the others are kept.

    The pixel at row i and column j depends on rows above up to r columns further right, r the radius of the neighborhood, and on what is
    to its left. So all pixels with equal j + (r + 1) i are independent given those before, and are computed at once, for all images:
    W' + (r + 1) (H' - 1) steps.

    Args:
        model: Whose pixels they are.
        images: ``(N, C, H, W)``; pixels to be drawn may hold anything.
        condition: ``(N, K, H, W)``, or with r rows more below, where the model takes one.
        state: What enters from above and from the left where the model has a recurrence; None for zeros.
    """

    def __init__(
        self, model: SiteModel, images: Tensor, condition: Tensor | None = None, state: State | None = None
    ) -> None:
        neighborhood = model.neighborhood
        neighborhood.check(images, condition)
        r = neighborhood.radius
        self._model = model
        self._images = images
        self._condition = None if condition is None else neighborhood.windows(condition, images.shape[2])
        self._state = state
        self._width = images.shape[3]
        self._radius = r
        self._rows = images.shape[2] - r
        self._columns = images.shape[3] - 2 * r
        window = torch.arange(neighborhood.count, device=images.device)
        size = neighborhood.size
        self._offsets = (window // size - r) * self._width + window % size - r

    def steps(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows and columns of the sites of each step."""
        slant, rows, columns = self._radius + 1, self._rows, self._columns
        for step in range(len(self)):
            first = max(0, -((columns - 1 - step) // slant))
            at = torch.arange(first, min(rows - 1, step // slant) + 1, device=self._images.device)
            yield at, step - slant * at

    def __len__(self) -> int:
        """Number of steps."""
        return self._columns + (self._radius + 1) * (self._rows - 1)

    def run(
        self,
        hole: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        limits: tuple[Tensor, Tensor] | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Return images ``(N, C, H, W)`` in which the scored pixels in a hole are drawn from the model.

        Args:
            hole: Which pixels to draw, bool ``(N, 1, H, W)``; None for all.
            generator: Where the random numbers come from.
            limits: ``(C,)`` each, between which drawn values are clipped.
            progress: Called after every step with the steps done and their total.
        """
        return self._run(hole, generator, limits, progress, None)

    def run_and_score(
        self,
        hole: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        limits: tuple[Tensor, Tensor] | None = None,
        progress: Progress | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`run`, and log p of every scored pixel as it comes out, in nats, ``(N, H', W')``."""
        density = wide(self._images.new_empty(len(self._images), self._rows, self._columns))
        return self._run(hole, generator, limits, progress, density), density

    @torch.no_grad()
    def _run(
        self,
        hole: Tensor | None,
        generator: torch.Generator | None,
        limits: tuple[Tensor, Tensor] | None,
        progress: Progress | None,
        density: Tensor | None,
    ) -> Tensor:
        """Both of the above; without ``density`` the scan ends with the last pixel to be drawn."""
        model, whitening = self._model, self._model.whitening
        images = self._images.clone(memory_format=torch.contiguous_format)
        flat = images.flatten(2)  # (N, C, H W), the same memory
        hole = flat.new_ones((), dtype=torch.bool) if hole is None else hole
        holes = hole.expand(len(images), 1, *images.shape[2:]).flatten(1)  # (N, H W)
        drawing = self._drawing(holes)
        last = len(self) if density is not None else max((step + 1 for step in drawing), default=0)
        stepper = model.stepper(len(images), self._rows, self._columns, self._state)
        for step, (rows, columns) in enumerate(islice(self.steps(), last)):
            at = (rows + self._radius) * self._width + columns + self._radius  # (S,)
            white = whitening.whiten_inputs(self._inputs(flat, at, rows, columns))
            features = stepper.step(white, rows, columns)
            values = flat[:, :, at].transpose(1, 2)
            if step in drawing:
                drawn = whitening.color_outputs(white, model.mcgsm.sample(features, generator))
                if limits is not None:
                    drawn = torch.maximum(torch.minimum(drawn, limits[1]), limits[0])
                values = torch.where(holes[:, at].unsqueeze(2), drawn, values)
                flat[:, :, at] = values.transpose(1, 2)
            if density is not None:
                density[:, rows, columns] = model.site_density(features, whitening.whiten_outputs(white, values))
            if progress:
                progress(step + 1, last)
        return images

    def _drawing(self, holes: Tensor) -> set[int]:
        """The steps at which a pixel of some image is drawn."""
        scored = holes.any(0).view(-1, self._width)[self._radius :, self._radius : self._radius + self._columns]
        rows, columns = scored.nonzero(as_tuple=True)
        return set((columns + (self._radius + 1) * rows).unique().tolist())

    def _inputs(self, flat: Tensor, at: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """The neighborhoods of S sites, ``(N, S, D)``."""
        inputs = flat[:, :, at.unsqueeze(1) + self._offsets].transpose(1, 2).flatten(2)
        return inputs if self._condition is None else torch.cat([inputs, self._condition[:, rows, columns]], dim=2)
