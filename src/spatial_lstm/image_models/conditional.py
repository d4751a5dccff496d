"""What every conditional density p(y | x) provides."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from spatial_lstm.image_models.base import FitProgress


class ConditionalDensity(nn.Module, ABC):
    """A density of outputs y in R^M given inputs x in R^D."""

    @abstractmethod
    def log_prob(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Return log p(y | x) in nats, ``(...)``, for inputs ``(..., D)`` and outputs ``(..., M)``; never in 16 bits."""

    @abstractmethod
    def sample(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw y ``(..., M)`` given x ``(..., D)``, in the type of the parameters."""

    @abstractmethod
    def fit(
        self,
        inputs: Tensor,
        outputs: Tensor,
        max_iterations: int = 500,
        validation: tuple[Tensor, Tensor] | None = None,
        progress: FitProgress | None = None,
    ) -> float:
        """Maximize the mean log-likelihood of outputs ``(K, M)`` given inputs ``(K, D)`` by L-BFGS, from the present parameters.

        Args:
            inputs: ``(K, D)``.
            outputs: ``(K, M)``.
            max_iterations: Of L-BFGS; 0 for none.
            validation: Held-out inputs and outputs; the parameters best on them are kept, and fitting stops when they stay so.
            progress: Called every ten iterations with the iteration, the training and the validation loss in nats.

        Returns:
            The mean negative log-likelihood in nats, of the validation rows if there are any, else of the data.

        Raises:
            ValueError: If the rows do not fit or there are none, or max_iterations is negative.
            NotFiniteError: If their log-likelihood is not finite at the start.
            TypeError: If max_iterations is no int.
        """

    def forward(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """As :meth:`log_prob`."""
        return self.log_prob(inputs, outputs)
