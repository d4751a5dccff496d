"""The README's picture: a wavefront crossing an image, and what four directions know afterwards."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from examples.inside import PixelLabeler, draw_outlines
from spatial_lstm.files import write_atomically

SIDE, STEPS, SHOWN = 20, 400, (6, 18, 30)


def trained() -> PixelLabeler:
    """The network of ``examples/inside.py``, trained as there."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = PixelLabeler()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(STEPS):
        images, inside = draw_outlines(16, SIDE, generator)
        optimizer.zero_grad()
        functional.binary_cross_entropy_with_logits(model(images), inside).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model


def save(path: Path) -> None:
    """Three moments of the wavefront of the first direction, then what the network says of each pixel."""
    from matplotlib.figure import Figure

    model = trained()
    image, _ = draw_outlines(8, SIDE, torch.Generator().manual_seed(3))
    image = image[image.sum((1, 2, 3)).argmax()]
    with torch.inference_mode():
        hidden = model.layers(image[None])[0][0].abs().mean(0)
        inside = model(image[None]).sigmoid()[0, 0]
    steps = torch.arange(SIDE)[:, None] + torch.arange(SIDE)
    figure = Figure(figsize=(8.4, 2), layout="constrained")
    panels = figure.subplots(1, 5)
    panels[0].imshow(image[0], cmap="gray_r")
    panels[0].set_title("image", fontsize=9)
    for panel, step in zip(panels[1:4], SHOWN, strict=True):
        panel.imshow(image[0], cmap="gray_r", vmax=2)
        panel.imshow(hidden.where(steps <= step, torch.nan), cmap="Blues", alpha=0.75, vmin=0, vmax=float(hidden.max()))
        panel.imshow(torch.ones(SIDE, SIDE).where(steps == step, torch.nan), cmap="autumn", vmin=0, vmax=2)
        panel.set_title(f"step {step + 1} of {2 * SIDE - 1}", fontsize=9)
    panels[4].imshow(inside, cmap="Blues", vmin=0, vmax=1)
    panels[4].set_title("inside, says the network", fontsize=9)
    for panel in panels:
        panel.set(xticks=[], yticks=[])
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=110))
