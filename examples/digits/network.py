"""The network."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from spatial_lstm import SpatialLSTM


class DigitClassifier(nn.Module):
    """Two layers of four directions each, the second on blocks of 2x2 of the first one's sites, after Graves & Schmidhuber, 2009.

    The second layer's features, averaged over the image, are classified linearly.

    Args:
        hidden_size: Features of each direction of the first layer; the second has twice as many.
        classes: Number of classes.
    """

    def __init__(self, hidden_size: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.first = SpatialLSTM(1, hidden_size, directions="all")
        self.gather = nn.Conv2d(4 * hidden_size, 2 * hidden_size, 2, stride=2)
        self.second = SpatialLSTM(2 * hidden_size, 2 * hidden_size, directions="all")
        self.classify = nn.Linear(8 * hidden_size, classes)

    def forward(self, images: Tensor) -> Tensor:
        """``(N, 1, H, W)`` of even height and width to logits ``(N, classes)``."""
        features, _ = self.second(functional.tanh(self.gather(self.maps(images))))
        logits: Tensor = self.classify(features.mean((2, 3)))
        return logits

    def maps(self, images: Tensor) -> Tensor:
        """The first layer's hidden states, ``(N, 4 * hidden_size, H, W)``, direction after direction."""
        hidden: Tensor = self.first(images)[0]
        return hidden
