"""A network for ragged batches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import overload

import torch
from torch import Tensor, nn

from spatial_lstm.arguments import as_int
from spatial_lstm.engine import check_sizes
from spatial_lstm.modules.sized.module import SizedModule
from spatial_lstm.modules.sized.ragged import Ragged
from spatial_lstm.modules.sized.rules import rule_of


class SizedSequential(SizedModule):
    """:class:`torch.nn.Sequential` for images of different sizes: a padded batch gives what each image gives alone.

    Sizes are carried exactly through strided convolutions and poolings, floor((s + 2p - d (k - 1) - 1) / stride) + 1, and what a layer
    leaves in the padding reaches no other. Of PyTorch's layers it takes convolutions (zeros as padding), maximum and average pooling,
    batch normalization (statistics over sites of images alone), dropout and activations; :class:`~spatial_lstm.SpatialLSTM`; and any
    :class:`~spatial_lstm.SizedModule`, itself among them.

    Args:
        layers: In order; or one ordered dictionary of them by name, as :class:`torch.nn.Sequential` takes.

    On the way no layer computes padding: images that differ along the last axis alone stand side by side in one strip, with as much room
    between them as windows reach, and only what takes a padded batch gets one, :class:`~spatial_lstm.SpatialLSTM` (which skips the
    padding) and layers of one's own.

    Inputs: x, sizes
        - x: ``(N, C, *S)``; what stands in the padding does not matter.
        - sizes: integers ``(N, n)``, or ``(N,)`` for n = 1, in a tensor or in nested sequences: each image's own extent. None where all
          fill the batch. Kept on the CPU they cost no synchronization.

    Outputs: y, sizes
        - y: as large as the largest image, and zero beyond each one's own extent; channels last in memory, on a CPU in any case.
        - sizes: those extents, ``(N, n)``, int64 on the CPU.

    Raises:
        TypeError: If a layer is of a kind whose way with padding is not known, or a dictionary is not alone.
        ValueError: If a layer has options under which images would see their padding, sizes do not fit, an image is too small for a
            layer's window, or one site alone is to be normalized.

    Example:
        >>> from spatial_lstm import SpatialLSTM
        >>> network = SizedSequential(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), SpatialLSTM(8, 16, directions="all"))
        >>> y, sizes = network(torch.zeros(2, 1, 30, 20), [[30, 20], [7, 12]])
        >>> y.shape, sizes.tolist()
        (torch.Size([2, 64, 14, 9]), [[14, 9], [3, 5]])
    """

    def __init__(self, *layers: nn.Module | OrderedDict[str, nn.Module]) -> None:
        super().__init__()
        for name, layer in _by_name(layers).items():
            rule_of(layer)
            self.add_module(name, layer)

    def forward(self, x: Tensor, sizes: Tensor | Sequence[object] | None = None) -> tuple[Tensor, Tensor]:
        """Return the output and its sizes; see the class."""
        found = self._run(x, sizes)
        return found.padded(), found.sizes

    def images(self, x: Tensor, sizes: Tensor | Sequence[object] | None = None) -> list[Tensor]:
        """Return what comes out of each image alone, ``(1, C, *own)``; inputs and errors are those of the network."""
        return [image.movedim(-1, 1) for image in self._run(x, sizes).images()]

    def _run(self, x: Tensor, sizes: Tensor | Sequence[object] | None) -> Ragged:
        own = _own_sizes(x, sizes)
        self._check(own)
        found = Ragged.of(x, own)
        for layer in self:
            found = rule_of(layer).run(layer, found)
        return found

    def extents(self, sizes: Tensor) -> Tensor:
        """Return the sizes that come out where ``sizes`` ``(N, n)`` go in; 0 where an image is too small. Computes nothing else."""
        fits = torch.ones(len(sizes), 1, dtype=torch.bool, device=sizes.device)
        for layer in self:
            sizes = rule_of(layer).extents(layer, sizes)
            fits &= (sizes >= 1).all(1, keepdim=True)
        return sizes * fits

    def __iter__(self) -> Iterator[nn.Module]:
        """The layers."""
        return iter(self._modules.values())  # type: ignore[arg-type]

    @overload
    def __getitem__(self, place: int) -> nn.Module: ...

    @overload
    def __getitem__(self, place: slice) -> SizedSequential: ...

    def __getitem__(self, place: int | slice) -> nn.Module | SizedSequential:
        """One of them, or a network of some, with the names that they have here."""
        if isinstance(place, slice):
            return type(self)(OrderedDict(list(self._modules.items())[place]))  # type: ignore[arg-type]
        return self.get_submodule(self._name(place))

    def __setitem__(self, place: int, layer: nn.Module) -> None:
        """Put another one in the place of one."""
        rule_of(layer)
        self.add_module(self._name(place), layer)

    def append(self, layer: nn.Module) -> SizedSequential:
        """Add one at the end; return the network.

        Raises:
            TypeError: As for the class, like the next.
            ValueError: If it has options under which images would see their padding.
        """
        rule_of(layer)
        self.add_module(next(name for name in map(str, count(len(self))) if name not in self._modules), layer)
        return self

    def __len__(self) -> int:
        """Their number."""
        return len(self._modules)

    def _name(self, place: object) -> str:
        """What the layer in a place is called."""
        at, names = as_int("the place of a layer", place), list(self._modules)
        if not -len(names) <= at < len(names):
            raise IndexError(f"expected a place from {-len(names)} to {len(names) - 1}, got {at}")
        return names[at]

    def _check(self, sizes: Tensor) -> None:
        """Refuse what does not go through all layers."""
        for layer in self:
            rule, axes = rule_of(layer), sizes.shape[1]
            if rule.axes(layer) not in (None, axes):
                raise ValueError(f"expected layers for {axes} spatial axes here, got {layer}")
            after = rule.extents(layer, sizes)
            small = (after < 1).any(1)
            if small.any():
                place = int(small.nonzero()[0])
                found = f"{' x '.join(map(str, sizes[place].tolist()))} sites in image {place}"
                raise ValueError(f"expected images no smaller than the window of {layer}, got {found}")
            sizes = after


def _by_name(layers: Sequence[nn.Module | OrderedDict[str, nn.Module]]) -> Mapping[str, nn.Module]:
    """Layers by their names, or else their places."""
    named: dict[str, nn.Module] = {}
    for place, layer in enumerate(layers):
        if isinstance(layer, OrderedDict):
            if len(layers) > 1:
                raise TypeError(
                    f"expected layers, or one ordered dictionary of them, got one among {len(layers)} arguments"
                )
            return layer
        named[str(place)] = layer
    return named


def _own_sizes(x: Tensor, sizes: Tensor | Sequence[object] | None) -> Tensor:
    """Checked sizes ``(N, n)``."""
    if not isinstance(x, Tensor):
        raise TypeError(f"expected x to be a Tensor, got {type(x).__name__}")
    if x.ndim < 3:
        raise ValueError(f"expected a batch x of shape (N, C, *S), got {tuple(x.shape)}")
    extents = torch.tensor(x.shape[2:], device="cpu")
    own = check_sizes(sizes, x.shape[0], x.shape[2:])
    if own is None:
        return extents.expand(x.shape[0], -1)
    if bool(((own < 1) | (own > extents)).any()):
        raise ValueError(f"expected sizes from 1 to the batch's extents {tuple(extents.tolist())}, got {own.tolist()}")
    return own
