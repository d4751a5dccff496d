"""What every layer on ragged batches does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from spatial_lstm.engine import known


class SizedModule(nn.Module, ABC):
    """A layer on ragged batches; a subclass stands in a :class:`~spatial_lstm.SizedSequential` beside PyTorch's own layers.

    What comes in is zero beyond each image's own extent and so is what goes out, and nothing that is computed of an image depends on the
    others or on the padding.
    """

    @abstractmethod
    def forward(self, x: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output and its sizes.

        Args:
            x: ``(N, C, *S)``, zero beyond each image's own extent.
            sizes: Those extents, ``(N, n)``, int64 on the CPU.
        """

    @abstractmethod
    def extents(self, sizes: Tensor) -> Tensor:
        """Return the sizes that come out where ``sizes`` ``(N, n)`` go in; below 1 where an image is too small."""

    @staticmethod
    def known(sizes: Tensor, name: str = "sizes", beside: Tensor | None = None) -> Any:
        """Return integers that are read, as Python's, in lists as they are nested.

        Args:
            sizes: What is read.
            name: What the error calls them.
            beside: What is computed with them.

        Raises:
            ValueError: If they have no values, or others whenever the program runs: on fake tensors, exported, traced, mapped over.
        """
        return known(name, sizes, beside)
