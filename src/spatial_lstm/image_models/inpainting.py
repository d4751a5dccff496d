"""Filling holes: ancestral sampling, then Metropolis steps that let the hole's far side be seen."""

from __future__ import annotations

import torch
from torch import Tensor

from spatial_lstm.arguments import as_count, as_positive_int
from spatial_lstm.image_models.base import Progress
from spatial_lstm.image_models.blocks import BLOCK, BlockSteps, blocks_apart, patches
from spatial_lstm.image_models.checks import check_finite
from spatial_lstm.image_models.masks import expand_mask
from spatial_lstm.image_models.scan import Scan
from spatial_lstm.image_models.sites import SiteModel


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
    limits: tuple[float, float] | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Return images with their holes filled, after Theis & Bethge, 2015.

    Every hole is filled by ancestral sampling several times and the likeliest image is kept. Then blocks of 5x5 pixels are proposed from
    the model, in a window of 19x19 around them, and accepted by the rule of Metropolis & Hastings. Blocks whose windows do not meet another
    block are proposed at once.

    A window is drawn and scored given all that precedes it: a recurrence goes on from the states that the image hands in from above and
    from the left. What is left out is the effect of the block on pixels beyond the window's far sides, below it and to its right. Without
    a recurrence there is none, and the sweeps leave invariant the distribution, within the limits, of the hole given all else. With one
    that is an approximation, and exact where the window reaches the image's last row and column. States are found anew at the beginning
    of every sweep and, when a block is accepted, within its window; beyond the window's far sides they then are out of date until the next
    sweep.

    Args:
        model: Whose pixels they are.
        images: ``(N, C, H, W)``; what is in the holes is not read.
        mask: bool ``(N, 1, H, W)`` or ``(1, 1, H, W)``, True in the holes.
        condition: ``(N, K, H, W)`` where the model takes one.
        candidates: How many fillings the likeliest is chosen from.
        gibbs_sweeps: How often every block is proposed; 0 for none.
        generator: Where the random numbers come from; None for torch's own.
        limits: Between which all filled values lie; None for the data's 0.1 and 99.8 percentiles.
        progress: Called with the steps done and their total.

    Raises:
        ValueError: If images or mask do not fit, or a hole reaches the rows and columns that have no causal neighborhood.
        TypeError: If the mask is not bool.
        NotFiniteError: If an image is infinite or NaN outside of its hole, or a condition anywhere.
    """
    model.check(images, condition)
    candidates = as_positive_int("candidates", candidates)
    gibbs_sweeps = as_count("gibbs_sweeps", gibbs_sweeps)
    mask = check_mask(model, images, mask)
    kept = images.masked_fill(mask, 0.0)
    check_finite("images outside of their holes", kept)
    if condition is not None:
        check_finite("conditions", condition)
    bounds = model.limits(limits)
    found = _best_of(model, kept, mask, condition, candidates, generator, bounds)
    steps = BlockSteps(model, found, mask, condition, generator=generator, limits=bounds)
    phases = [(row, column) for row in range(blocks_apart(model)) for column in range(blocks_apart(model))]
    total = 1 + gibbs_sweeps * len(phases)
    if progress:
        progress(1, total)
    for sweep in range(gibbs_sweeps):
        if sweep:
            steps.refresh()
        offset = torch.randint(BLOCK, (2,), generator=generator, device=images.device).tolist()
        for at, phase in enumerate(phases):
            steps.propose(list(patches(model, mask, offset, phase)))
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
    best = density.flatten(1).sum(1).view(len(images), candidates).argmax(1)
    at = torch.arange(len(images), device=images.device) * candidates + best
    return filled[at]


def check_mask(model: SiteModel, images: Tensor, mask: Tensor) -> Tensor:
    """Return the mask of every image, ``(N, 1, H, W)``, having refused one that does not fit; errors as :func:`inpaint`'s."""
    mask = expand_mask(images, mask)
    if int(mask.sum()) != int(model.neighborhood.targets(mask).sum()):
        raise ValueError(
            f"expected holes off the first {model.border} rows and the first and last {model.border} columns, which cannot be predicted"
        )
    return mask
