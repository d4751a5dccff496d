"""The loss as a module, which DistributedDataParallel can wrap."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from spatial_lstm.training.task import Batch, Task


class Loss(nn.Module):
    """The mean loss of a batch, times ``weight``.

    Args:
        task: Whose loss it is.
        autocast: Compute in bfloat16 where that is safe.
    """

    def __init__(self, task: Task[Any, Any], autocast: bool = False) -> None:
        super().__init__()
        self.model = task.model
        self._task = task
        self._autocast = autocast

    def forward(self, batch: Batch, weight: float = 1.0) -> Tensor:
        """Return a scalar."""
        with torch.autocast(self._task.device.type, torch.bfloat16, enabled=self._autocast):
            return weight * self._task.loss(batch)
