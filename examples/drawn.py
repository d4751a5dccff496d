"""Draw digits: PixelRNN learns scikit-learn's 8 x 8 digits in black and white, and draws new ones pixel by pixel.

    python examples/drawn.py [--steps 1500] [--picture FILE]

Told beside its likelihood of held-out digits: that of pixels drawn one by one without regard to one another.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from spatial_lstm.files import write_atomically
from spatial_lstm.image_models import PixelRNN


def load_digits() -> tuple[Tensor, Tensor]:
    """Binary images ``(N, 1, 8, 8)``: 1,347 to train on, 450 held out."""
    from sklearn import datasets

    images = (torch.from_numpy(datasets.load_digits().images) >= 8).float().unsqueeze(1)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order[450:]], images[order[:450]]


def train(images: Tensor, steps: int) -> PixelRNN:
    """A model after ``steps`` steps of Adam on batches of 32."""
    torch.manual_seed(0)
    model = PixelRNN(levels=2, hidden_size=16, num_layers=2, kernel_size=3)
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    for step in range(steps):
        batch = images[torch.randint(len(images), (32,))]
        loss = -model.log_prob(batch).nats.mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 250 == 249:
            print(f"  step {step + 1}: {loss:.2f} nats", flush=True)
    return model


def independent(train: Tensor, held_out: Tensor) -> float:
    """Nats of an image whose pixels have each its own probability and nothing to do with one another."""
    share = (train.sum(0) + 1) / (len(train) + 2)
    return float(-(held_out * share.log() + (1 - held_out) * (1 - share).log()).sum((1, 2, 3)).mean())


def save_picture(images: Tensor, samples: Tensor, path: Path) -> None:
    """A row of data, two of samples."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.3), layout="constrained")
    for place, (axes, image) in enumerate(zip(figure.subplots(3, 12).flat, torch.cat([images, samples]), strict=True)):
        axes.imshow(image[0].numpy(), cmap="gray_r", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        if place % 12 == 0:
            axes.set_ylabel("drawn" if place else "data", fontsize=9)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=90))


def main() -> None:
    """Train, score, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500, help="training steps (default: %(default)s)")
    parser.add_argument("--picture", type=Path, help="where to save a picture of digits drawn")
    args = parser.parse_args()
    images, held_out = load_digits()
    model = train(images, args.steps)
    with torch.inference_mode():
        nats = -float(model.log_prob(held_out).nats.mean())
    alone = independent(images, held_out)
    print(f"held-out digits: {nats:.2f} nats; pixels by themselves: {alone:.2f}")
    if args.picture:
        samples = model.sample(8, 8, 24, generator=torch.Generator().manual_seed(0))
        save_picture(held_out[:12], samples, args.picture)


if __name__ == "__main__":
    main()
