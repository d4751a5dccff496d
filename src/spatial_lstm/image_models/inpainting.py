"""Filling holes: ancestral sampling, then Metropolis steps that let the hole's far side be seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from spatial_lstm.arguments import check_positive_int
from spatial_lstm.image_models.base import Progress
from spatial_lstm.image_models.scan import Scan
from spatial_lstm.image_models.sites import SiteModel

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


@torch.no_grad()
def inpaint(
    model: SiteModel,
    images: Tensor,
    mask: Tensor,
    condition: Tensor | None = None,
    *,
    candidates: int = 8,
    gibbs_sweeps: int = 10,
    generator: torch.Generator | None = None,
    limits: tuple[Tensor, Tensor],
    progress: Progress | None = None,
) -> Tensor:
    """Return the images with their holes filled, after Theis & Bethge, 2015.

    Every hole is filled by ancestral sampling several times and the likeliest image is kept. Then blocks of 5x5 pixels are proposed from
    the model, in a window of 19x19 around them, and accepted by the rule of Metropolis & Hastings. Blocks whose windows do not meet another
    block are proposed at once.

    The window is scored as if it were an image by itself. What a step leaves invariant is therefore the distribution, within the limits, of
    the block given the rest of its window under the model of such an image. Without a recurrence that is the block's given the whole image,
    and so the sweeps leave the hole's invariant. With one, states from outside the window count as zero, and it is an approximation, exact
    where the window is the whole image.

    Args:
        model: Whose pixels they are.
        images: ``(N, C, H, W)``; what is in the holes is not read.
        mask: bool ``(N, 1, H, W)`` or ``(1, 1, H, W)``, True in the holes.
        condition: ``(N, K, H, W)`` where the model takes one.
        candidates: How many fillings the likeliest is chosen from.
        gibbs_sweeps: How often every block is proposed; 0 for none.
        generator: Where the random numbers come from.
        limits: ``(C,)`` each, between which all filled values lie.
        progress: Called with the steps done and their total.

    Raises:
        ValueError: If the mask does not fit, or a hole reaches the rows and columns that have no causal neighborhood.
        TypeError: If the mask is not bool.
    """
    check_positive_int("candidates", candidates)
    if gibbs_sweeps < 0:
        raise ValueError(f"expected gibbs_sweeps of at least 0, got {gibbs_sweeps}")
    mask = check_mask(model, images, mask)
    images = images.masked_fill(mask, 0.0)
    phases = [(row, column) for row in range(_spacing(model)) for column in range(_spacing(model))]
    total = 1 + gibbs_sweeps * len(phases)
    found = _best_of(model, images, mask, condition, candidates, generator, limits)
    if progress:
        progress(1, total)
    for sweep in range(gibbs_sweeps):
        offset = torch.randint(BLOCK, (2,), generator=generator, device=images.device).tolist()
        for at, phase in enumerate(phases):
            patches = list(_patches(model, mask, offset, phase))
            if patches:
                _propose(model, found, mask, condition, patches, generator, limits)
            if progress:
                progress(2 + sweep * len(phases) + at, total)
    return found


def _best_of(
    model: SiteModel,
    images: Tensor,
    mask: Tensor,
    condition: Tensor | None,
    candidates: int,
    generator: torch.Generator | None,
    limits: tuple[Tensor, Tensor],
) -> Tensor:
    """The likeliest of several fillings of each image."""
    many = None if condition is None else condition.repeat_interleave(candidates, 0)
    scan = Scan(model, images.repeat_interleave(candidates, 0), many)
    filled, density = scan.run_and_score(mask.repeat_interleave(candidates, 0), generator=generator, limits=limits)
    best = density.flatten(1).sum(1).view(-1, candidates).argmax(1)
    at = torch.arange(len(images), device=images.device) * candidates + best
    return filled[at]


def _window(model: SiteModel) -> int:
    return max(WINDOW, BLOCK + 4 * model.border)


def _spacing(model: SiteModel) -> int:
    """In blocks, how far apart they must be for their windows not to meet another block."""
    return -(-(_window(model) + BLOCK - 1) // BLOCK)


def _patches(model: SiteModel, mask: Tensor, offset: list[int], phase: tuple[int, int]) -> Iterator[Patch]:
    """The patches of one phase that have a part of a hole in their block."""
    extents = mask.shape[2:]
    stride = BLOCK * _spacing(model)
    for row in range(phase[0] * BLOCK - offset[0], extents[0], stride):
        for column in range(phase[1] * BLOCK - offset[1], extents[1], stride):
            spans = [_spans(model, start, extent) for start, extent in zip((row, column), extents, strict=True)]
            block, window = (spans[0][0], spans[1][0]), (spans[0][1], spans[1][1])
            touched = mask[:, 0, block[0], block[1]].flatten(1).any(1)
            for image in touched.nonzero().flatten().tolist():
                yield Patch(image, window, block)


def _spans(model: SiteModel, start: int, extent: int) -> tuple[slice, slice]:
    """Along one axis, a block that starts at ``start`` and the window around it, both cut to lie in the image."""
    width = min(_window(model), extent)
    first = min(max(0, start - (width - BLOCK) // 2), extent - width)
    return slice(max(start, 0), min(start + BLOCK, extent)), slice(first, first + width)


def _propose(
    model: SiteModel,
    images: Tensor,
    mask: Tensor,
    condition: Tensor | None,
    patches: list[Patch],
    generator: torch.Generator | None,
    limits: tuple[Tensor, Tensor],
) -> None:
    """Draw the blocks of all patches anew and write those accepted into ``images``.

    With q the product of the drawn pixels' own densities, p(new) q(old) / (p(old) q(new)) is what the pixels around them have gained.
    """
    chosen = torch.zeros(len(patches), 1, *_extents(patches[0]), dtype=torch.bool, device=images.device)
    for drawn, patch in zip(chosen, patches, strict=True):
        top, left = (span.start for span in patch.window)
        rows, columns = patch.block
        inner = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
        drawn[0][inner] = mask[patch.image, 0][patch.block]
    old = torch.stack([images[patch.image][(slice(None), *patch.window)] for patch in patches])
    given = None if condition is None else torch.stack([condition[p.image][(slice(None), *p.window)] for p in patches])
    new = Scan(model, old, given).run(chosen, generator=generator)
    around = ~model.neighborhood.targets(chosen).squeeze(1)
    gain = ((model.log_density(new, given) - model.log_density(old, given)) * around).flatten(1).sum(1)
    low, high = (limit.view(-1, 1, 1) for limit in limits)
    inside = (((new >= low) & (new <= high)) | ~chosen).flatten(1).all(1)
    chance = torch.rand(len(patches), generator=generator, device=images.device)
    for patch, value, taken in zip(patches, new, (inside & (chance.log() < gain)).tolist(), strict=True):
        if taken:
            images[patch.image][(slice(None), *patch.window)] = value


def _extents(patch: Patch) -> list[int]:
    return [span.stop - span.start for span in patch.window]


def check_mask(model: SiteModel, images: Tensor, mask: Tensor) -> Tensor:
    """Return the mask of every image, ``(N, 1, H, W)``, having refused one that does not fit; errors as :func:`inpaint`'s."""
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        found = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"expected mask to be a bool Tensor, got {found}")
    shape = (len(images), 1, *images.shape[2:])
    if mask.shape not in (shape, (1, *shape[1:])):
        raise ValueError(f"expected mask of shape {shape} or {(1, *shape[1:])}, got {tuple(mask.shape)}")
    mask = mask.expand(shape)
    if int(mask.sum()) != int(model.neighborhood.targets(mask).sum()):
        raise ValueError(
            f"expected holes off the first {model.border} rows and the first and last {model.border} columns, which cannot be predicted"
        )
    return mask
