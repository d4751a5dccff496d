"""The picture: what the network reads, what it answers and what its four directions carry."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from examples.digits.task import DigitsTask
from spatial_lstm.files import write_atomically

# Digits that fit side by side.
COLUMNS = 10
ARROWS = {"ff": "↘", "fr": "↙", "rf": "↗", "rr": "↖"}


def draw(task: DigitsTask, path: Path) -> None:
    """Save a picture of held-out digits: input, answer with its probability, and the four directions' hidden-state maps.

    The first columns are the digits the network is wrong about or least sure of, the others one of each class as far as there is room.
    A direction's map shows, at every pixel, how its hidden state there differs from its mean, along the direction in which the
    states of all the shown digits vary most.
    """
    from matplotlib.figure import Figure

    held_out = task.digits.test
    probabilities = task.probabilities(held_out)
    picked = _pick(probabilities, held_out.labels)
    images, labels = held_out.images[picked], held_out.labels[picked]
    names = task.model.first.directions
    with torch.inference_mode():
        maps = [_first_component(m) for m in task.model.maps(images).chunk(len(names), dim=1)]

    figure = Figure(figsize=(1.25 * COLUMNS + 1.2, 7.6), layout="constrained")
    axes = figure.subplots(1 + len(names), COLUMNS)
    for column in range(len(picked)):
        confidence, answer = probabilities[picked[column]].max(0)
        right = bool(answer == labels[column])
        title = f"{answer}  ({confidence:.0%})" + ("" if right else f"\nis a {labels[column]}")
        axes[0, column].imshow(images[column, 0].numpy(), cmap="gray_r", vmin=0, vmax=1)
        axes[0, column].set_title(title, color="black" if right else "crimson", fontsize=11)
        for row, shown in enumerate(maps, start=1):
            bound = float(shown.abs().max())
            axes[row, column].imshow(shown[column].numpy(), cmap="RdBu_r", vmin=-bound, vmax=bound)
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
    axes[0, 0].set_ylabel("input", fontsize=11)
    for row, name in enumerate(names, start=1):
        axes[row, 0].set_ylabel(f"{ARROWS[name]}  {name}", fontsize=13)
    wrong = int((probabilities.argmax(1) != held_out.labels).sum())
    figure.suptitle(
        f"{len(probabilities)} held-out digits, {wrong} wrong: {1 - wrong / len(held_out):.1%}.  Answers above, the least certain first; "
        "below, the hidden states of the four directions",
        fontsize=11,
    )
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=110))


def _pick(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Indices of :data:`COLUMNS` digits: three wrong or unsure ones, then the first of the classes not among them."""
    surest, answers = probabilities.max(1)
    doubtful = (surest + (answers == labels)).argsort()[:3].tolist()
    seen = {int(labels[place]) for place in doubtful}
    others = [int((labels == digit).nonzero()[0]) for digit in range(probabilities.shape[1]) if digit not in seen]
    return torch.tensor((doubtful + others)[:COLUMNS])


def _first_component(maps: Tensor) -> Tensor:
    """``(N, h, H, W)`` to ``(N, H, W)``: the centered states' coordinate along their first principal component."""
    states = maps.movedim(1, -1).flatten(0, -2)
    states = states - states.mean(0)
    component = torch.linalg.eigh(states.T @ states).eigenvectors[:, -1]
    component = component * component[component.abs().argmax()].sign()
    shown: Tensor = (states @ component).reshape(maps.shape[0], *maps.shape[2:])
    return shown
