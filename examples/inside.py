"""Tell the inside of closed curves from the outside: at every pixel the answer depends on the whole image.

Each image shows outlines of rectangles on a black field. A network whose receptive field is bounded cannot know, in the middle of a large
one, that there is one; the states of four directions carry it there. ``python examples/inside.py [--steps 400]`` prints the share of
pixels that are labeled right on fresh images, beside that of always saying "outside".
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional

from spatial_lstm import SpatialLSTM


class PixelLabeler(nn.Module):
    """Two four-direction layers and a linear readout at every pixel."""

    def __init__(self, hidden_size: int = 12) -> None:
        super().__init__()
        self.layers = SpatialLSTM(1, hidden_size, num_layers=2, directions="all", cell="stable")
        self.readout = nn.Conv2d(4 * hidden_size, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """``(N, 1, H, W)`` to the logit of "inside" ``(N, 1, H, W)``."""
        logits: Tensor = self.readout(self.layers(images)[0])
        return logits


def draw_outlines(count: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Outlines of rectangles, at most one in each half of an image, and which pixels lie within: ``(count, 1, size, size)`` each."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    images, inside = torch.zeros(2, count, 1, size, size)
    for k in range(count):
        for half in range(2):
            if torch.rand((), generator=generator) < 0.3:
                continue
            top, bottom = torch.randperm(size - 2, generator=generator)[:2].sort().values.tolist()
            left, right = (
                torch.randperm(size // 2 - 1, generator=generator)[:2].sort().values + half * size // 2
            ).tolist()
            box = (rows >= top) & (rows <= bottom + 2) & (columns >= left) & (columns <= right)
            core = (rows > top) & (rows < bottom + 2) & (columns > left) & (columns < right)
            images[k, 0][box & ~core] = 1
            inside[k, 0][core] = 1
    return images, inside


def main() -> None:
    """Train, then score on fresh images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400, help="training steps (default: %(default)s)")
    parser.add_argument("--size", type=int, default=20, help="height and width of the images (default: %(default)s)")
    args = parser.parse_args()
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = PixelLabeler()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(args.steps):
        images, inside = draw_outlines(16, args.size, generator)
        loss = functional.binary_cross_entropy_with_logits(model(images), inside)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 49:
            print(f"step {step + 1}: loss {loss:.3f}")
    images, inside = draw_outlines(64, args.size, generator)
    with torch.inference_mode():
        right = ((model(images) > 0) == inside.bool()).float().mean()
    print(f"right at {right:.1%} of the pixels; always outside: {1 - inside.mean():.1%}")


if __name__ == "__main__":
    main()
