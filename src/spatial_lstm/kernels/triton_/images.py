"""Where each image's sites stand among the packed rows."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from spatial_lstm.geometry import Plan

_bounds: WeakKeyDictionary[Plan, Tensor] = WeakKeyDictionary()


def image_bounds(plan: Plan) -> Tensor:
    """``(steps * N + 1,)``: rows ``bounds[s * N + i]`` up to the next entry are image i's in step s. Kept as long as the plan is.

    Packed rows are sorted by step, then by image, and step 0 has one site of every image.
    """
    found = _bounds.get(plan)
    if found is None:
        with torch.inference_mode(False):
            found = _bounds[plan] = _find(plan)
    return found


def _find(plan: Plan) -> Tensor:
    images = plan.block_sizes[0]
    image = plan.site[0] // (plan.raster_rows // images)
    offsets = torch.tensor(plan.offsets[1:]).to(image.device)
    rows = torch.arange(plan.sites, device=image.device)
    step = torch.searchsorted(offsets, rows, right=True)
    return torch.searchsorted(step * images + image, torch.arange(plan.steps * images + 1, device=image.device))
