"""A task that is no image model: a line through points, its batches made of a class of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spatial_lstm.training import Stage, Task


@dataclass
class Points:
    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, which: slice) -> Points:
        return Points(self.x[which], self.y[which])

    def to(self, device: torch.device) -> Points:
        return Points(self.x.to(device), self.y.to(device))


class Draws:
    """Fresh points every step."""

    per_epoch = 3

    def __init__(self, batch: int, seed: Sequence[int]) -> None:
        self.batch, self.seed = batch, seed

    def __getitem__(self, step: int) -> Points:
        generator = torch.Generator().manual_seed(1000 * sum(self.seed) + step)
        x = torch.rand(self.batch, 1, generator=generator)
        return Points(x, 2 * x + 1)


class Line(Task[Stage, Points]):
    """Notes what the loop asks of it in ``calls``."""

    model: nn.Linear
    stage_type = Stage
    score = "minus the squared error"

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(1, 1)
        self.calls: list[str] = []

    def batches(self, stage: Stage, seed: Sequence[int]) -> Draws:
        return Draws(stage.batch, seed)

    def loss(self, batch: Points) -> Tensor:
        return (self.model(batch.x) - batch.y).square().sum() / max(1, len(batch))

    @torch.no_grad()
    def evaluate(self) -> float:
        return -float(self.loss(Draws(64, [9])[0]))

    def describe(self) -> dict[str, Any]:
        return {"kind": "line", "state": {name: tensor.clone() for name, tensor in self.model.state_dict().items()}}

    def load(self, description: dict[str, Any]) -> None:
        self.model.load_state_dict(description["state"])

    def settings(self) -> dict[str, Any]:
        return {"color": "red"}

    def begin(self) -> None:
        self.calls.append("begin")

    def before(self, stage: Stage) -> bool:
        self.calls.append("before")
        return False

    def after(self, stage: Stage) -> Mapping[str, Callable[[], object]]:
        return {"polish": lambda: self.calls.append("polish")} if stage.optimizer == "sgd" else {}
