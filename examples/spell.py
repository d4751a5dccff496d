"""Spell what a picture shows: a network predicts the first state of an LSTM over letters from the picture's features.

    python examples/spell.py [--epochs 40] [--picture FILE]

As in Show, Attend and Tell (Xu et al., 2015) without its attention, on scikit-learn's 8 x 8 digits and their English names. Told beside it:
the same LSTM from a state of zeros, which knows the language and not the picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from spatial_lstm import OutputOnly, SpatialLSTM, State
from spatial_lstm.files import write_atomically

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTERS = " " + "".join(sorted(set("".join(NAMES))))  # the blank begins and ends a word
LONGEST = max(map(len, NAMES))


class Speller(nn.Module):
    """Four directions over the picture, one linear layer from their mean to h and c, an LSTM over letters.

    Args:
        hidden_size: Features of the LSTM over letters.
        looks: Whether its first state comes from the picture, or is zero.
    """

    def __init__(self, hidden_size: int = 32, *, looks: bool = True) -> None:
        super().__init__()
        self.looks = looks
        seeing = OutputOnly(SpatialLSTM(1, 16, directions="all", cell="stable"))
        self.encoder = nn.Sequential(seeing, nn.Conv2d(64, 32, 2, stride=2), nn.ReLU())
        self.start = nn.Linear(32, 2 * hidden_size)
        self.embed = nn.Embedding(len(LETTERS), 12)
        self.decoder = SpatialLSTM(12, hidden_size, spatial_dims=1, cell="graves", channels_last=True)
        self.read_out = nn.Linear(hidden_size, len(LETTERS))

    def first_state(self, images: Tensor) -> State | None:
        """The state before the first letter: one face of h and one of c, ``(1, N, hidden_size)`` each."""
        if not self.looks:
            return None
        h, c = self.start(self.encoder(images).mean((2, 3))).chunk(2, dim=1)
        return State((h.tanh()[None],), (c[None],))

    def forward(self, images: Tensor, before: Tensor) -> Tensor:
        """Images and the letters before each, ``(N, L)``, to logits of each letter ``(N, L, letters)``."""
        output, _ = self.decoder(self.embed(before), self.first_state(images))
        logits: Tensor = self.read_out(output)
        return logits

    @torch.inference_mode()
    def spell(self, images: Tensor) -> list[str]:
        """The most probable letters one by one, the state handed on."""
        state, letter = self.first_state(images), torch.zeros(len(images), 1, dtype=torch.long)
        found = []
        for _ in range(LONGEST):
            output, state = self.decoder(self.embed(letter), state)
            letter = self.read_out(output).argmax(-1)
            found.append(letter)
        words = torch.cat(found, 1).tolist()
        return ["".join(LETTERS[place] for place in word).split(" ")[0] for word in words]


def load_digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Images ``(N, 1, 8, 8)`` and labels: 1,347 to train on, 450 held out."""
    from sklearn import datasets

    data = datasets.load_digits()
    images, labels = torch.from_numpy(data.images).float().unsqueeze(1) / 16, torch.from_numpy(data.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    return (images[order[450:]], labels[order[450:]]), (images[order[:450]], labels[order[:450]])


def train(model: Speller, images: Tensor, labels: Tensor, epochs: int) -> None:
    """Adam on shuffled batches, the letters before given."""
    words = torch.tensor([[LETTERS.index(letter) for letter in f" {name} ".ljust(LONGEST + 2)] for name in NAMES])
    beyond = torch.arange(LONGEST + 1) > torch.tensor(
        [[len(name)] for name in NAMES]
    )  # after the blank that ends a word
    wanted = words[:, 1:].masked_fill(beyond, -100)  # counts for nothing
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for epoch in range(epochs):
        for chosen in torch.randperm(len(labels)).split(32):
            logits = model(images[chosen], words[labels[chosen], :-1])
            loss = functional.cross_entropy(logits.flatten(0, 1), wanted[labels[chosen]].flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        if epoch % 10 == 9:
            print(f"  epoch {epoch + 1}: loss {loss:.3f}", flush=True)


def save_picture(images: Tensor, words: list[str], path: Path) -> None:
    """Digits with what was spelled."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.3), layout="constrained")
    for axes, image, word in zip(figure.subplots(1, 8), images, words, strict=False):
        axes.imshow(image[0].numpy(), cmap="gray_r")
        axes.set_title(word, fontsize=10)
        axes.set(xticks=[], yticks=[])
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=100))


def main() -> None:
    """Train both, spell held-out digits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=40, help="passes over the digits (default: %(default)s)")
    parser.add_argument("--picture", type=Path, help="where to save a picture of some answers")
    args = parser.parse_args()
    (images, labels), (held_out, wanted) = load_digits()
    for looks in (True, False):
        torch.manual_seed(0)
        model = Speller(looks=looks)
        train(model, images, labels, args.epochs)
        words = model.spell(held_out)
        right = sum(word == NAMES[label] for word, label in zip(words, wanted.tolist(), strict=True)) / len(words)
        print(f"first state {'from the picture' if looks else 'zero'}: {right:.1%} of {len(words)} words right")
        if looks and args.picture:
            save_picture(held_out, words, args.picture)


if __name__ == "__main__":
    main()
