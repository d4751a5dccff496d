"""Pictures of what a model imagines: samples beside data, a hole before and after. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spatial_lstm.files import write_atomically
from spatial_lstm.image_models import ImageModel
from spatial_lstm.image_models.base import FillsHoles

# Inches a side.
PANEL = 2.2
# A blue, which no gray is taken for.
HOLE = (0.2, 0.4, 0.8)


def image_rows(path: Path, rows: Mapping[str, Sequence[Tensor]], title: str = "") -> None:
    """Draw rows of images ``(C, H, W)``, each row under its name, all on the scale 0 .. 1.

    Args:
        path: Of the PNG file.
        rows: Images by the name of their row; the rows may differ in length and the images in size.
        title: Over all.
    """
    from matplotlib.figure import Figure

    columns = max(len(images) for images in rows.values())
    figure = Figure(figsize=(PANEL * columns, (PANEL + 0.3) * len(rows) + 0.4), layout="constrained")
    figure.suptitle(title)
    for part, (name, images) in zip(figure.subfigures(len(rows), 1, squeeze=False).flat, rows.items(), strict=True):
        part.suptitle(name, fontsize="medium")
        for axes, image in zip(part.subplots(1, columns, squeeze=False).flat, images, strict=False):
            show(axes, image)
        for axes in part.axes[len(images) :]:
            axes.set_visible(False)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=120))


def panels(path: Path, images: Mapping[str, Tensor], *, columns: int, title: str = "") -> None:
    """Draw images ``(C, H, W)`` in rows of ``columns``, each under its name and all equally large."""
    from matplotlib.figure import Figure

    rows = -(-len(images) // columns)
    figure = Figure(figsize=(3.2 * columns, 3.4 * rows + 0.4), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (name, image) in zip(grid, images.items(), strict=False):
        axes.set_title(name, fontsize="medium")
        show(axes, image)
    for axes in list(figure.axes)[len(images) :]:
        axes.set_visible(False)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=110))


def show(axes: Any, image: Tensor) -> None:
    """Show ``(C, H, W)``, of one channel or three, on the scale 0 .. 1."""
    pixels = image.detach().cpu().float().clamp(0, 1).permute(1, 2, 0).numpy()
    axes.imshow(pixels if pixels.shape[2] == 3 else pixels[:, :, 0], cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])


def centered_hole(height: int, width: int, side: int) -> Tensor:
    """A mask ``(1, 1, H, W)``, True in a square in the middle."""
    mask = torch.zeros(1, 1, height, width, dtype=torch.bool, device="cpu")
    top, left = (height - side) // 2, (width - side) // 2
    mask[:, :, top : top + side, left : left + side] = True
    return mask


def with_hole(images: Tensor, mask: Tensor) -> Tensor:
    """Images ``(N, C, H, W)`` in color, ``(N, 3, H, W)``, of one color that no gray is taken for where the mask is True."""
    color = torch.tensor(HOLE, dtype=images.dtype, device=images.device)[:, None, None]
    return torch.where(mask.to(images.device), color, images.expand(-1, 3, -1, -1))


def draw_samples(path: Path, model: ImageModel, data: Tensor, *, seed: int = 0) -> None:
    """Draw as many samples as there are images ``(N, C, H, W)``, beside these."""
    generator = torch.Generator(data.device).manual_seed(seed)
    samples = model.sample(data.shape[2], data.shape[3], len(data), generator=generator)
    image_rows(path, {"data": list(data), "samples": list(samples)})


def draw_inpainting(path: Path, model: ImageModel, data: Tensor, *, seed: int = 0) -> bool:
    """Cut a hole into the middle of images ``(N, C, H, W)`` and fill it; False if the model cannot."""
    if not isinstance(model, FillsHoles):
        return False
    generator = torch.Generator(data.device).manual_seed(seed)
    height, width = data.shape[2:]
    mask = centered_hole(height, width, min(height, width) // 3).to(data.device)
    filled = model.inpaint(data, mask, generator=generator)
    image_rows(path, {"before": list(with_hole(data, mask)), "after": list(filled), "original": list(data)})
    return True
