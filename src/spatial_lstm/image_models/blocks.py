"""Metropolis steps on the pixels of holes, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spatial_lstm import State
from spatial_lstm.image_models.scan import Scan
from spatial_lstm.image_models.sites import Corner, SiteModel

# Sides of the blocks that are proposed and of the windows that they are scored in, as in the released code of Theis & Bethge, 2015.
BLOCK = 5
WINDOW = 19


class Patch(NamedTuple):
    """A window of one image with the block that is proposed anew in it.

    Attributes:
        image: Which one.
        window: Rows and columns of the window.
        block: Rows and columns of the block.
    """

    image: int
    window: tuple[slice, slice]
    block: tuple[slice, slice]

    @property
    def corner(self) -> Corner:
        """The window's first scored pixel; scored pixels begin as far from a window's edges as from an image's."""
        return Corner(self.image, self.window[0].start, self.window[1].start)

    def of(self, images: Tensor, below: int = 0) -> Tensor:
        """The window's part ``(C, h, w)`` of images ``(N, C, H, W)``, or with rows below it."""
        rows, columns = self.window
        return images[self.image, :, rows.start : rows.stop + below, columns]

    def drawn(self, mask: Tensor) -> Tensor:
        """Which pixels of the window are in the block and in a hole, bool ``(1, h, w)``; the mask is of all images."""
        block = torch.zeros_like(mask[self.image])
        block[(slice(None), *self.block)] = mask[self.image][(slice(None), *self.block)]
        return block[(slice(None), *self.window)]


class Windows(NamedTuple):
    """Windows cut out of images, with what of the rest of the images matters to them.

    Attributes:
        images: ``(P, C, h, w)``.
        drawn: bool ``(P, 1, h, w)``, the pixels of holes that are in the blocks.
        condition: ``(P, K, h + border, w)``; None for none.
        state: What enters from above and from the left; None for zeros.
    """

    images: Tensor
    drawn: Tensor
    condition: Tensor | None
    state: State | None


def patches(model: SiteModel, mask: Tensor, offset: list[int], phase: tuple[int, int]) -> Iterator[Patch]:
    """The patches of one phase that have a part of a hole in their block.

    Args:
        model: Whose pixels they are.
        mask: bool ``(N, 1, H, W)``, True in the holes.
        offset: How far the first row and column of blocks are cut off.
        phase: Which row and column of blocks comes first; of these and those :func:`blocks_apart` further on all are taken.
    """
    extents = mask.shape[2:]
    stride = BLOCK * blocks_apart(model)
    for row in range(phase[0] * BLOCK - offset[0], extents[0], stride):
        for column in range(phase[1] * BLOCK - offset[1], extents[1], stride):
            spans = [_spans(model, start, extent) for start, extent in zip((row, column), extents, strict=True)]
            block, window = (spans[0][0], spans[1][0]), (spans[0][1], spans[1][1])
            touched = mask[:, 0, block[0], block[1]].flatten(1).any(1)
            for image in touched.nonzero().flatten().tolist():
                yield Patch(image, window, block)


def blocks_apart(model: SiteModel) -> int:
    """In blocks, how far apart they must be for their windows not to meet another block."""
    return -(-(_window(model) + BLOCK - 1) // BLOCK)


def _window(model: SiteModel) -> int:
    return max(WINDOW, BLOCK + 4 * model.border)


def _spans(model: SiteModel, start: int, extent: int) -> tuple[slice, slice]:
    """Along one axis, a block that starts at ``start`` and the window around it, both cut to lie in the image."""
    width = min(_window(model), extent)
    first = min(max(0, start - (width - BLOCK) // 2), extent - width)
    return slice(max(start, 0), min(start + BLOCK, extent)), slice(first, first + width)


class BlockSteps:
    """Proposes blocks of images anew, and takes those that are accepted.

    Args:
        model: Whose pixels they are.
        images: ``(N, C, H, W)``, whole; they are changed in place.
        mask: bool ``(N, 1, H, W)``, True where they may be changed.
        condition: ``(N, K, H, W)`` where the model takes one.
        generator: Where the random numbers come from.
        limits: ``(C,)`` each, between which all new values lie.
    """

    def __init__(
        self,
        model: SiteModel,
        images: Tensor,
        mask: Tensor,
        condition: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        limits: tuple[Tensor, Tensor],
    ) -> None:
        self._model = model
        self._images = images
        self._mask = mask
        # So that there are as many rows below the last window as below the others.
        self._condition = None if condition is None else model.neighborhood.with_rows_below(condition)
        self._generator = generator
        self._low, self._high = (limit.view(-1, 1, 1) for limit in limits)
        self.refresh()

    def refresh(self) -> None:
        """Find the states at all pixels anew, from the images as they are now."""
        self._states = self._model.site_states(self._images, self._condition)

    def propose(self, patches: Sequence[Patch]) -> None:
        """Draw the blocks of all patches, whose windows do not meet another's block, and take those that are accepted."""
        if not patches:
            return
        old = self.windows(patches)
        new = Scan(self._model, old.images, old.condition, old.state).run(old.drawn, generator=self._generator)
        inside = (((new >= self._low) & (new <= self._high)) | ~old.drawn).flatten(1).all(1)
        chance = torch.rand(len(patches), generator=self._generator, device=new.device)
        taken = (inside & (chance.log() < self.log_ratio(old, new))).nonzero().flatten().tolist()
        if taken:
            states = self._model.site_states(new, old.condition, old.state)
            for at in taken:
                patches[at].of(self._images).copy_(new[at])
                self._states.write(patches[at].corner, states, at)

    def windows(self, patches: Sequence[Patch]) -> Windows:
        """Return the windows of patches as they are now."""
        model, condition = self._model, self._condition
        old = torch.stack([patch.of(self._images) for patch in patches])
        drawn = torch.stack([patch.drawn(self._mask) for patch in patches])
        given = None if condition is None else torch.stack([patch.of(condition, model.border) for patch in patches])
        extents = model.neighborhood.targets(old).shape[2:]
        state = self._states.entering([patch.corner for patch in patches], *extents)
        return Windows(old, drawn, given, state)

    def log_ratio(self, old: Windows, new: Tensor) -> Tensor:
        """Return log p(new) q(old) / (p(old) q(new)) of windows, ``(P,)``.

        With q the product of the drawn pixels' own densities, it is what the pixels around them gain.
        """
        before, after = (self._model.log_density(found, old.condition, old.state) for found in (old.images, new))
        around = ~self._model.neighborhood.targets(old.drawn).squeeze(1)
        return ((after - before) * around).flatten(1).sum(1)
